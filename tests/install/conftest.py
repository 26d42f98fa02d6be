"""A pretended machine in a folder, and the `wherry` command that works on it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from wherry.cli.main import run

COMMANDS = ("containerd-shim-wherry-v1", "wherry-shim", "wherry-runtime")


@dataclass
class Pretended:
    """A machine's files, with wherry installed at the same path as here."""

    root: Path
    scripts: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Run `wherry WORDS --root …`: exit code, stdout, stderr."""
        self.capture.readouterr()
        code = run([*words, "--root", str(self.root)])
        sys.stdout.flush()
        said = self.capture.readouterr()
        return code, said.out, said.err

    def has(self, path: str, content: str | bytes) -> Path:
        """Give it a file."""
        found = self.at(path)
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_bytes(content.encode() if isinstance(content, str) else content)
        return found

    def has_program(self, name: str, version: str) -> None:
        """Give it a program that tells its version, if it can be run there at all."""
        self.has(f"/usr/bin/{name}", f"#!/bin/sh\necho {version}\n").chmod(0o755)

    def at(self, path: str) -> Path:
        return Path(f"{self.root}{path}")

    def read(self, path: str) -> str:
        return self.at(path).read_bytes().decode()

    def snapshot(self) -> dict[str, str]:
        """All it has, apart from the empty lock that wherry leaves."""
        found = {}
        for folder, folders, files in os.walk(self.root):
            for name in (*folders, *files):
                path = Path(folder, name)
                key = str(path)[len(str(self.root)) :]
                if key in ("/var", "/var/lib", "/var/lib/wherry", "/var/lib/wherry/install.lock"):
                    continue
                mode = oct(path.lstat().st_mode)
                if path.is_symlink():
                    found[key] = f"-> {path.readlink()}"
                elif path.is_dir():
                    found[key] = mode
                else:
                    found[key] = f"{mode} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        return found


@pytest.fixture
def machine(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pretended]:
    """A machine with wherry, dockerd and containerd, but no configuration."""
    # The commands as pip puts them beside each other, whatever this environment is.
    scripts = tmp_path / "opt" / "wherry" / "bin"
    root = tmp_path / "root"
    for folder in (scripts, Path(f"{root}{scripts}")):
        folder.mkdir(parents=True)
        for name in COMMANDS:
            (folder / name).write_text("#!/bin/sh\n")
            (folder / name).chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(scripts / "wherry")])
    pretended = Pretended(root, scripts, capfd)
    for folder_name in ("/usr/local/bin", "/etc"):
        pretended.at(folder_name).mkdir(parents=True)
    pretended.has_program("dockerd", "28.5.1")
    pretended.has_program("containerd", "2.1.9")
    yield pretended
