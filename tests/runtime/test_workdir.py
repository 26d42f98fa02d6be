"""Which descriptor a path of a WASI 0.1 guest is resolved from."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.runtime.wasi.trampolines import (
    DESCRIPTORS,
    PATHS,
    VARIANTS,
    Variant,
    back,
    front,
    write,
)
from wherry.runtime.wasi.workdir import is_absolute


def test_a_name_that_the_root_has_is_absolute(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    root = os.fsencode(tmp_path)
    assert is_absolute(b"etc/passwd", root)
    assert not is_absolute(b"script.py", root)


def test_a_dangling_link_in_the_root_counts_as_being_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert is_absolute(b"link/x", os.fsencode(tmp_path))


@pytest.mark.parametrize("path", [b"", b".", b"..", b"./x", b"../x"])
def test_dots_begin_in_the_working_directory(path: bytes) -> None:
    assert not is_absolute(path)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_path(path: bytes) -> None:
    assert is_absolute(path) in (True, False)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_both_trampolines_are_valid_and_cover_every_function(variant: Variant) -> None:
    from wasmtime import Engine, Module, wat2wasm

    engine = Engine()
    faces_guest = Module(engine, wat2wasm(front(variant)))
    calls_wasi = Module(engine, wat2wasm(back(variant)))
    covered = {*PATHS, *(DESCRIPTORS if variant.sockets else ())}
    assert {item.name for item in faces_guest.exports} - {"table", "descriptors"} == covered
    imported = {item.name for item in calls_wasi.imports if item.module.startswith("wasi")}
    assert imported == set(variant.functions)


def test_trampolines_are_written_once(tmp_path: Path) -> None:
    paths = write(str(tmp_path), VARIANTS[0])
    before = [os.stat(path).st_ino for path in paths]
    assert write(str(tmp_path), VARIANTS[0]) == paths
    assert [os.stat(path).st_ino for path in paths] == before
