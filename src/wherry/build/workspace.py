"""Folders that live as long as a piece of work, or until the next one if that was killed."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wherry.locks import try_lock


@contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, removed at the end with all that is in it.

    Its owner holds a lock on it; folders in `parent` that nobody holds are removed first.
    """
    parent.mkdir(parents=True, exist_ok=True)
    gate = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Under the gate no other workspace is between being made and being locked.
        fcntl.flock(gate, fcntl.LOCK_EX)
        for left in parent.iterdir():
            _remove_unlocked(left)
        path = parent / os.urandom(8).hex()
        path.mkdir(mode=0o700)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        os.close(gate)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _remove_unlocked(path: Path) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if try_lock(lock):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
