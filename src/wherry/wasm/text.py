"""Text (.wat) made binary, by a process that can do nothing else.

The parser is wasmtime's, and an image's text is hostile: it is parsed where it can take neither
the caller's memory nor its time.
"""

import resource
import subprocess
import sys

from wherry.interpreter import command
from wherry.wasm.errors import InvalidWasm

MAX_TEXT = 64 << 20
"""Bytes."""

_CPU, _PATIENCE = 60, 120
_MEMORY = 8 << 30
"""Bytes of address space, much of which is only reserved."""


def to_binary(text: bytes) -> bytes:
    """The module or component that a text describes. Raises InvalidWasm: one line, with the place.

    Takes some 0.1 s, for an interpreter is started.
    """
    if len(text) > MAX_TEXT:
        raise InvalidWasm(f"text of more than {MAX_TEXT >> 20} MiB is not read")
    try:
        done = subprocess.run(
            command("wherry.wasm.text"),
            input=text,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidWasm(f"the text could not be read in {_PATIENCE} s") from None
    if done.returncode == 0:
        return done.stdout
    said = " ".join(done.stderr.decode(errors="replace").split())[-300:]
    if done.returncode < 0:
        said = f"its parser was ended by signal {-done.returncode}"
    raise InvalidWasm(f"not valid text: {said}")


def main(_: list[str]) -> None:
    """The process: text on stdin, binary on stdout, what is wrong on stderr."""
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU, _CPU))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    from wasmtime import WasmtimeError, wat2wasm

    try:
        binary = wat2wasm(sys.stdin.buffer.read())
    except (WasmtimeError, UnicodeDecodeError) as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(binary)
