"""One wherryd for each run directory."""

import os
import threading
from pathlib import Path

import pytest

from wherry.api.lock import AlreadyRunning, DaemonLock


def test_a_second_daemon_is_told_who_serves(tmp_path: Path) -> None:
    held = DaemonLock.take(tmp_path / "lock")
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} in {tmp_path}"):
        DaemonLock.take(tmp_path / "lock")
    del held


def test_a_new_daemon_waits_for_one_that_leaves(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    asked, told = os.pipe()
    go_read, go_write = os.pipe()
    child = os.fork()
    if not child:
        held = DaemonLock.take(path)
        held.leaving()
        os.write(told, b"!")
        os.read(go_read, 1)
        os._exit(0)
    assert os.read(asked, 1)
    taken: list[DaemonLock] = []
    waiting = threading.Thread(target=lambda: taken.append(DaemonLock.take(path)))
    waiting.start()
    assert not taken
    os.write(go_write, b"!")
    waiting.join(60)
    assert taken
    os.waitpid(child, 0)
    for fd in (asked, told, go_read, go_write):
        os.close(fd)


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        DaemonLock.take(tmp_path / "lock")
