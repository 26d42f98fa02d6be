"""`wherry-runtime` as its callers use it: a process a step, its containers reaped by us."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runtime.bundles import Bundle

PROGRAM = f"{sysconfig.get_path('scripts')}/wherry-runtime"


@dataclass
class Runtime:
    """`wherry-runtime` with a root of its own."""

    folder: Path
    environment: dict[str, str]
    made: list[str] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def argv(self, *arguments: str) -> list[str]:
        return [PROGRAM, "--root", str(self.root), *arguments]

    def __call__(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of which no process outlives it with our pipes."""
        return subprocess.run(
            self.argv(*arguments), env=self.environment, capture_output=True, text=True, **options
        )

    def create(self, bundle: Bundle, identifier: str, *options: str, stdin: str = "") -> int:
        """Create a container, its output in the files `out` and `err`; returns its pid."""
        write_config(bundle)
        self.made.append(identifier)
        (self.folder / "in").write_text(stdin)
        pid_file = self.folder / f"{identifier}.pid"
        argv = self.argv(
            "create",
            "--bundle",
            str(bundle.path),
            "--pid-file",
            str(pid_file),
            *options,
            identifier,
        )
        with (
            (self.folder / "in").open() as given,
            (self.folder / "out").open("w") as out,
            (self.folder / "err").open("w") as err,
        ):
            result = subprocess.run(
                argv, env=self.environment, stdin=given, stdout=out, stderr=err, timeout=60
            )
        assert result.returncode == 0, self.err
        self.pids.append(int(pid_file.read_text()))
        return self.pids[-1]

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    def state(self, identifier: str) -> dict[str, Any]:
        result = self("state", identifier)
        assert result.returncode == 0, result.stderr
        found: dict[str, Any] = msgspec.json.decode(result.stdout)
        return found

    def status(self, identifier: str) -> str:
        return str(self.state(identifier)["status"])

    def ok(self, *arguments: str, **options: Any) -> str:
        """Run a command that must succeed; returns what it printed."""
        result = self(*arguments, **options)
        assert result.returncode == 0, result.stderr
        return result.stdout


def write_config(bundle: Bundle) -> None:
    """Write config.json, for a root that is mounted by nobody."""
    (bundle.path / "config.json").write_bytes(msgspec.json.encode(bundle.config))


def read_line(terminal: int) -> bytes:
    """Read one line of a terminal, which may come in pieces."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(terminal, 1)
    return line


def reap(pid: int) -> int:
    """Wait for a container that `create` left to us; its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def runtime(tmp_path: Path, code_cache: Path, subreaper: None) -> Iterator[Runtime]:
    """A runtime whose containers are deleted in the end, and left to us: we are a subreaper."""
    cache = code_cache / "of-the-command"
    environment = {**os.environ, "WHERRY_ROOT": str(cache), "WHERRY_RUNTIME_COLD": "1"}
    command = Runtime(tmp_path, environment)
    yield command
    for identifier in command.made:
        command("delete", "--force", identifier)
    for pid in command.pids:
        with contextlib.suppress(ChildProcessError):  # by the test itself
            os.waitpid(pid, 0)


@pytest.fixture
def container(bundle: Callable[..., Bundle]) -> Callable[..., Bundle]:
    """Makes a bundle of one module given as text, run with arguments."""

    def make(module: str | bytes, *args: str) -> Bundle:
        made = bundle("/main.wasm", *args)
        program = made.path / "rootfs" / "main.wasm"
        program.write_bytes(module.encode() if isinstance(module, str) else module)
        return made

    return make
