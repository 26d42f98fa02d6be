"""A Raspberry Pi is a user: every dependency comes as wheels for both architectures."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.conftest import ROOT, without

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def index_answers() -> bool:
    """Whether pip can reach a package index at all."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    done = subprocess.run([*command, "/dev/null/no", "msgspec"], capture_output=True, text=True)
    return "No matching distribution" not in done.stderr


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_every_dependency_resolves_to_wheels(
    tmp_path: Path, architecture: str, version: str
) -> None:
    platforms = [f"manylinux_2_{minor}_{architecture}" for minor in (17, 28, 34)]
    platforms += [f"manylinux2014_{architecture}"]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--only-binary=:all:", "--implementation", "cp", "--python-version", version,
        "--dest", str(tmp_path),
        *(word for platform in platforms for word in ("--platform", platform)),
        *PROJECT["dependencies"],
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 and not index_answers():
        without("no package index can be reached")
    assert done.returncode == 0, done.stderr
    assert all(path.suffix == ".whl" for path in tmp_path.iterdir())


def test_the_wheel_brings_every_command(tmp_path: Path) -> None:
    """Built and installed elsewhere, wherry has its entry points and the shim's script."""
    target = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(target)], check=True)
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "--python", str(target / "bin" / "python"), "install",
            "--quiet", "--no-deps", str(ROOT),
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("wherry", "wherryd", "wherry-runtime", "wherry-shim", "containerd-shim-wherry-v1"):
        command = target / "bin" / name
        assert command.stat().st_mode & 0o111, f"{name} cannot be run"
    found = subprocess.run(
        [target / "bin" / "containerd-shim-wherry-v1", "-v"], capture_output=True, text=True
    )
    assert found.returncode in (0, 1), found.stderr  # without its dependencies it may say so
