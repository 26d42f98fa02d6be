"""Which descriptor a path of a WASI 0.1 guest is resolved from."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.runtime.wasi.trampolines import FUNCTIONS, ROOT, back, front, write
from wherry.runtime.wasi.workdir import WORKDIR, pick


def test_a_name_that_the_root_has_is_absolute(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    root = os.fsencode(tmp_path)
    assert pick(b"etc/passwd", root) == ROOT
    assert pick(b"script.py", root) == WORKDIR


def test_a_dangling_link_in_the_root_counts_as_being_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert pick(b"link/x", os.fsencode(tmp_path)) == ROOT


@pytest.mark.parametrize("path", [b"", b".", b"..", b"./x", b"../x"])
def test_dots_begin_in_the_working_directory(path: bytes) -> None:
    assert pick(path) == WORKDIR


@given(st.binary(max_size=300))
def test_any_bytes_are_a_path(path: bytes) -> None:
    assert pick(path) in (ROOT, WORKDIR)


def test_both_trampolines_are_valid_and_cover_every_path_function(tmp_path: Path) -> None:
    from wasmtime import Engine, Module, wat2wasm

    engine = Engine()
    faces_guest = Module(engine, wat2wasm(front()))
    calls_wasi = Module(engine, wat2wasm(back()))
    assert {item.name for item in faces_guest.exports} == {*FUNCTIONS, "table"}
    imported = {item.name for item in calls_wasi.imports if item.module.startswith("wasi")}
    assert imported == set(FUNCTIONS)


def test_trampolines_are_written_once(tmp_path: Path) -> None:
    paths = write(str(tmp_path))
    before = [os.stat(path).st_ino for path in paths]
    assert write(str(tmp_path)) == paths
    assert [os.stat(path).st_ino for path in paths] == before
