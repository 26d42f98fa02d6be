"""Folders of cache mounts: how builds share them, what they begin with, when they go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wherry.build.cache_mounts import CacheMounts


class GaveUp(Exception):
    """The build that waits is given up."""


def give_up() -> None:
    raise GaveUp


def nothing(new: Path) -> None:
    """A cache begins empty."""


def use(mounts: CacheMounts, sharing: str, make: Callable[[Path], None] = nothing, id: str = "x"):  # type: ignore[no-untyped-def]
    return mounts.use(id, None, sharing, make, give_up)


def test_a_shared_cache_is_one_folder(tmp_path: Path) -> None:
    mounts = CacheMounts(tmp_path)
    with use(mounts, "shared") as one, use(mounts, "shared") as two:
        assert one == two
        (one / "f").write_text("1")
    with use(mounts, "locked") as again:
        assert (again / "f").read_text() == "1"
    with use(mounts, "shared", id="y") as other:
        assert other != one


def test_who_locks_it_is_alone(tmp_path: Path) -> None:
    mounts = CacheMounts(tmp_path)
    for first, second in (("locked", "locked"), ("locked", "shared"), ("shared", "locked")):
        with use(mounts, first), pytest.raises(GaveUp), use(mounts, second):
            pass
    with use(mounts, "locked"):
        pass


def test_a_private_one_is_another_while_it_is_used(tmp_path: Path) -> None:
    mounts = CacheMounts(tmp_path)
    with use(mounts, "private") as one, use(mounts, "private") as two:
        assert one != two
    with use(mounts, "private") as again:
        assert again == one


def test_what_it_begins_with_is_made_once_and_whole(tmp_path: Path) -> None:
    mounts = CacheMounts(tmp_path)

    def fail(new: Path) -> None:
        (new / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="No space left"), use(mounts, "shared", fail):
        pass

    def make(new: Path) -> None:
        (new / "whole").write_text("x")

    with use(mounts, "shared", make) as folder:
        assert [path.name for path in folder.iterdir()] == ["whole"]
    with use(mounts, "shared", fail) as folder:
        assert (folder / "whole").exists()


def test_what_is_used_is_not_removed(tmp_path: Path) -> None:
    mounts = CacheMounts(tmp_path)
    with use(mounts, "shared") as folder:
        (folder / "f").write_bytes(bytes(8192))
        (found,) = mounts.folders()
        assert (found.id, found.in_use) == ("x", True)
        assert found.size >= 8192
        assert not mounts.remove(found.key)
        assert (folder / "f").exists()
    assert mounts.remove(found.key)
    assert mounts.folders() == []
    with use(mounts, "shared") as folder:
        assert list(folder.iterdir()) == []
