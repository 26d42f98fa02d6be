"""Telling Wasm from everything else by its first bytes."""

import pytest

from wherry import wasm


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0asm\1\0\0\0", "module"),
        (b"\0asm\1\0\0\0\1\4", "module"),
        (b"\0asm\x0d\0\1\0", "component"),
        (b"(module)", "text"),
        (b"( module", "text"),
        (b"(", "text"),
        (b"\n\t  (component", "text"),
        (b";; a comment (with parenthesis)\r\n;;; another\n(module", "text"),
        (b"(; block ;) (module", "text"),
        (b"(@custom", "text"),
        (b"", None),
        (b"\0asm", None),
        (b"\0asm\2\0\0\0", None),
        (b"\0asm\1\0\2\0", None),
        (b"\x7fELF\2\1\1\0", None),
        (b"#!/bin/sh\n(", None),
        (b"(1 2 3)", None),
        (b";; only a comment", None),
        (b" \n ", None),
        (b"\xff(module", None),
    ],
)
def test_the_first_bytes_tell_what_a_file_is(head: bytes, kind: str | None) -> None:
    assert wasm.sniff(head) == kind


def test_sniffing_imports_nothing_else() -> None:
    import subprocess
    import sys
    from pathlib import Path

    script = (
        "import sys; before = set(sys.modules); from wherry.wasm import sniff\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(wasm.__file__).parents[2])},
    )
    assert done.stdout.split() == [
        "wherry",
        "wherry.wasm",
        "wherry.wasm.errors",
        "wherry.wasm.preamble",
    ]
