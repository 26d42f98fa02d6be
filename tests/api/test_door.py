"""The path of the listening socket."""

import fcntl
import os
import socket
from pathlib import Path

import pytest

from wherry.api.door import Door


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wherry.sock"


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_a_shut_door_cannot_be_found(path: Path) -> None:
    with _listen(path) as listener:
        assert Door(listener, path).shut()
        assert list(path.parent.iterdir()) == [path.with_name("wherryd.start.lock")]


def test_whoever_came_before_keeps_the_door_open(path: Path) -> None:
    with _listen(path) as listener, socket.socket(socket.AF_UNIX) as client:
        door = Door(listener, path)
        client.connect(str(path))
        assert not door.shut()
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(path))


def test_the_door_stays_open_while_a_client_starts_a_daemon(path: Path) -> None:
    lock = os.open(path.with_name("wherryd.start.lock"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with _listen(path) as listener:
        assert not Door(listener, path).shut()
        assert path.exists()
    os.close(lock)


def test_a_shut_door_keeps_starters_waiting(path: Path) -> None:
    with _listen(path) as listener:
        assert Door(listener, path).shut()
        lock = os.open(path.with_name("wherryd.start.lock"), os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(lock)


def test_a_socket_that_took_the_place_is_left_there(path: Path) -> None:
    with _listen(path) as listener:
        door = Door(listener, path)
        path.rename(path.with_name("old"))
        with _listen(path):
            door.remove()
            assert path.exists()


def test_a_socket_made_elsewhere_is_left_there(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "systemd.sock"
    with _listen(elsewhere) as listener:
        door = Door(listener, path)
        assert door.shut()
        door.remove()
        assert elsewhere.exists()
