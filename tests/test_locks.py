"""Locks on files and folders."""

import fcntl
import os
from pathlib import Path

from wherry.locks import is_locked, try_lock


def test_a_lock_is_had_once_and_free_when_its_holder_is_gone(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    assert not is_locked(tmp_path)
    assert try_lock(first)
    assert not try_lock(second)
    assert is_locked(tmp_path)
    os.close(first)
    assert not is_locked(tmp_path)
    assert try_lock(second)
    os.close(second)


def test_who_shares_a_lock_holds_it(tmp_path: Path) -> None:
    first, second, third = (os.open(tmp_path, os.O_RDONLY) for _ in range(3))
    assert try_lock(first, fcntl.LOCK_SH)
    assert try_lock(second, fcntl.LOCK_SH)
    os.close(first)
    assert is_locked(tmp_path)
    assert not try_lock(third)
    os.close(second)
    assert try_lock(third)
    os.close(third)


def test_nobody_holds_what_is_not_there(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "nothing")
