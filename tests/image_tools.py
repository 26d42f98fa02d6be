"""What others do with images: cosign, oras, crane, skopeo and umoci of Debian forky.

They are newer than this machine's and are run right here, without a chroot: by the dynamic loader
of their own suite, with the libraries of their own suite.

    tool("crane").run("digest", "127.0.0.1:5000/hello", "--insecure")
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import suite, without

PACKAGES = ("cosign", "oras", "crane", "skopeo", "umoci")
"""All of them in one suite, so that it is made once."""


class Tool:
    """One program of the suite. Make one with `tool`."""

    def __init__(self, root: Path, name: str) -> None:
        found = sorted(root.glob("usr/lib/*-linux-gnu/ld-linux-*.so.*"))
        if not found or not (root / "usr" / "bin" / name).exists():
            without(f"{root} has no {name} in it: remove the folder to have it made anew")
        self._loader = [str(found[0]), "--library-path", str(found[0].parent), "--argv0", name]
        self._program = root / "usr" / "bin" / name

    def argv(self, *args: str | Path) -> list[str]:
        """A command line that runs the program."""
        return [*self._loader, str(self._program), *map(str, args)]

    def run(
        self, *args: str | Path, env: Mapping[str, str] | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run it and return what it printed; `env` is added to this process's variables."""
        options = {"capture_output": True, "text": True, "timeout": 120, **options}
        variables = {**os.environ, **(env or {})}
        return subprocess.run(self.argv(*args), env=variables, **options)  # type: ignore[call-overload,no-any-return]

    def output(self, *args: str | Path, env: Mapping[str, str] | None = None) -> str:
        """What it printed; an AssertionError with its complaint when it failed."""
        done = self.run(*args, env=env)
        assert done.returncode == 0, f"{self._program.name} {args}: {done.stdout}{done.stderr}"
        return done.stdout


@functools.cache
def tool(name: str) -> Tool:
    """The program `name`, one of PACKAGES; the test is skipped where it cannot be had."""
    return Tool(suite("forky", *PACKAGES).root, name)
