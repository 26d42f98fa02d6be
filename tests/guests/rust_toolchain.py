"""Rust's compiler for the guests in `rust/`: the machine's own, else that of Debian trixie.

rustup's toolchains have Wasm's standard library only where it was added to them
(`rustup target add wasm32-wasip1`). Debian has it as a package, for root to be unpacked beside the
other suites (`tests.debian`) and run in namespaces that see nothing but the sources and the result.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests import peers
from tests.debian import Suite

SOURCES = Path(__file__).resolve().parent / "rust"
TARGET = "wasm32-wasip1"
PACKAGES = ("cargo", "libstd-rust-dev-wasm32", "lld-19", "ca-certificates")
_LINKER = "wasm-ld-19"

_INSIDE = """
set -e
suite=$1 work=$2 sources=$3
shift 3
mount --make-rprivate /
mount -t tmpfs -o mode=0755 rust "$work/root"
mkdir "$work/root/upper" "$work/root/work" "$work/root/root"
options="lowerdir=$suite,upperdir=$work/root/upper,workdir=$work/root/work"
mount -t overlay -o "$options" rust "$work/root/root"
cd "$work/root/root"
mkdir -p build sources
mount --bind "$work" build
mount --bind "$sources" sources
mount --rbind /dev dev
mount -t proc proc proc
for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$file" ] || cp "$file" ".$file"
done
exec chroot . env --chdir=/sources "$@"
"""
"""Run by sh in a mount namespace of its own: SUITE WORK SOURCES, then the command's words."""


def sources() -> list[Path]:
    """What the programs are made of."""
    return sorted(
        path for path in SOURCES.rglob("*") if path.suffix == ".rs" or "Cargo" in path.name
    )


def installed() -> bool:
    """Whether the machine's own rustc knows WASI 0.1."""
    if shutil.which("cargo") is None or shutil.which("rustc") is None:
        return False
    asked = ["rustc", "--print", "sysroot"]
    done = subprocess.run(asked, cwd=SOURCES, capture_output=True, text=True)
    return (Path(done.stdout.strip()) / "lib" / "rustlib" / TARGET / "lib").is_dir()


def build(target: Path, run: Callable[..., None]) -> None:
    """Compile all programs into the folder `target`, each as NAME.wasm.

    `run` is given a command, a folder and variables. Raises SuiteMissing where there is no compiler
    to be had.
    """
    command = ["cargo", "build", "--locked", "--release", f"--target={TARGET}"]
    with tempfile.TemporaryDirectory() as folder:
        if installed():
            run(command, SOURCES, {**os.environ, "CARGO_TARGET_DIR": f"{folder}/target"})
        else:
            _build_in_debian(Path(folder), command, run)
        target.mkdir()
        for program in (Path(folder) / "target" / TARGET / "release").glob("*.wasm"):
            shutil.move(program, target)


def _build_in_debian(work: Path, command: list[str], run: Callable[..., None]) -> None:
    suite = Suite("trixie", *PACKAGES)
    (work / "root").mkdir()
    variables = {
        "HOME": "/build",
        "PATH": "/usr/bin:/bin",
        "CARGO_HOME": "/build/cargo",
        "CARGO_TARGET_DIR": "/build/target",
        "CARGO_TARGET_WASM32_WASIP1_LINKER": _LINKER,
    }
    words = ["-i", *(f"{name}={value}" for name, value in variables.items()), *command]
    unshare = [peers.program("unshare"), "--mount", "--fork", "--kill-child", "sh", "-c", _INSIDE]
    run([*unshare, "sh", str(suite.root), str(work), str(SOURCES), *words], work)
