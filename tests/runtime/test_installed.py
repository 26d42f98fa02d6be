"""What is found out about a program of the host, and remembered."""

import os
import shutil
from pathlib import Path

import pytest
from tests.guests.toolchain import Guests

from wherry import programs
from wherry.programs import is_program
from wherry.runtime import LaunchError
from wherry.runtime.engines.host import installed
from wherry.runtime.engines.host.examination import examine

STATIC = b"\x7fELF\x02\x01\x01" + bytes(57)
"""The head of a program with no segments, and so without a loader."""


def program(path: Path, content: bytes, mode: int) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.guests
def test_the_command_tells_its_release_and_what_it_is_loaded_from(guests: Guests) -> None:
    found = examine(str(guests.wasmtime()))
    assert int(found.release.split(".")[0]) >= installed.OLDEST
    assert os.path.isabs(found.loader) and "libc.so.6" in found.libraries
    assert all(os.path.isfile(path) for path in found.libraries.values())


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (STATIC, 0o644, "is not executable: chmod"),
        (STATIC[:20], 0o755, "cannot be read as a program"),
        (STATIC, 0o755, "does not start"),
        (STATIC, 0o700, "cannot be read by a container's user: chmod o"),
    ],
)
def test_what_is_wrong_with_a_program_is_told(
    tmp_path: Path, content: bytes, mode: int, says: str
) -> None:
    with pytest.raises(LaunchError, match=says):
        examine(program(tmp_path / "wasmtime", content, mode))


def test_a_program_that_tells_no_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="does not tell its release"):
        examine(shutil.copy("/bin/echo", str(tmp_path / "wasmtime")))


@pytest.mark.guests
def test_a_broken_one_on_the_path_does_not_hide_a_good_one(
    guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = program(tmp_path / "wasmtime", STATIC, 0o755)
    finder = installed.Installed(str(tmp_path / "known"))
    monkeypatch.setattr(programs, "wasmtime", lambda: [broken])
    with pytest.raises(LaunchError, match="does not start"):
        finder.find()
    monkeypatch.setattr(programs, "wasmtime", lambda: [broken, str(guests.wasmtime())])
    assert finder.find().path == str(guests.wasmtime())


def test_scripts_and_folders_are_no_programs(tmp_path: Path) -> None:
    assert not is_program(program(tmp_path / "wasmtime", b"#!/bin/sh\n", 0o755))
    assert not is_program(str(tmp_path))
    assert not is_program(str(tmp_path / "missing"))


@pytest.mark.guests
def test_it_is_examined_once_for_all_processes(
    guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "wasmtime", lambda: [str(guests.wasmtime())])
    first = installed.Installed(str(tmp_path)).find()
    (file,) = tmp_path.iterdir()
    monkeypatch.setattr(installed, "examine", lambda path: pytest.fail("examined again"))
    assert installed.Installed(str(tmp_path)).find() == first
    file.write_bytes(b"{")
    with pytest.raises(pytest.fail.Exception):
        installed.Installed(str(tmp_path)).find()
