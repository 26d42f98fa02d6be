"""What is kept for later takes no more than its share of the disk."""

import os
from pathlib import Path

import pytest
from tests.runtime.bundles import WASI_HELLO

from wherry import shelf
from wherry.runtime.code import CodeCache
from wherry.shelf import make_room

BLOCK = 4096


def put(folder: Path, name: str, used: int, size: int = BLOCK) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x" * size)
    os.utime(folder / name, (used, used))


def names(*folders: Path) -> set[str]:
    return {path.name for folder in folders for path in folder.iterdir()}


def test_what_was_used_longest_ago_goes_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    put(one, "old", 10)
    put(one, "old.json", 11)
    put(one, "read", 1)
    put(one, "read.json", 50)
    put(two, "middle", 20)
    put(two, "new", 60)
    make_room([str(one), str(two)], "", most=4 * BLOCK)
    assert names(one, two) == {"read", "read.json", "middle", "new"}
    make_room([str(one), str(two)], "", most=3 * BLOCK)
    assert names(one, two) == {"read", "read.json", "new"}


def test_what_has_just_come_stays_however_large_it_is(tmp_path: Path) -> None:
    put(tmp_path, "just-come", 1, size=4 * BLOCK)
    put(tmp_path, "other", 2)
    make_room([str(tmp_path)], "just-come", most=BLOCK)
    assert names(tmp_path) == {"just-come"}


def test_links_and_folders_are_left_and_a_folder_that_is_gone_is_none(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    make_room([str(tmp_path), str(tmp_path / "gone")], "", most=0)
    assert names(tmp_path) == {"folder", "link"}


def test_compiled_code_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "LEAST", 0)
    monkeypatch.setattr(shelf, "SHARE", 1 << 60)
    cache = CodeCache(tmp_path / "cache")
    (tmp_path / "cache" / "older-release").mkdir()
    (tmp_path / "cache" / "older-release" / "code").write_bytes(b"x")
    for word in ("hello", "HELLO"):
        module = tmp_path / "module.wat"
        module.write_text(WASI_HELLO.replace("hello", word))
        with module.open("rb") as file:
            os.close(cache.get(file.fileno(), "module").descriptor)
    code = [path for path in Path(cache.root).rglob("*") if len(path.name) == 64]
    assert len(code) == 1 and not list((tmp_path / "cache" / "older-release").iterdir())
