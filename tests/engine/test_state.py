"""The engine's file, across versions of it."""

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from wherry.engine.config import ContainerConfig, EndpointConfig, HostConfig
from wherry.engine.errors import EngineError
from wherry.engine.record import Life, NetworkRecord, Record
from wherry.engine.state import State, VolumeRow

_FIRST = """
CREATE TABLE container (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record BLOB NOT NULL, life BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE volume (
    name TEXT PRIMARY KEY, created INTEGER NOT NULL, labels BLOB NOT NULL, pending TEXT
) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version=1;
"""
_RECORD = b"""{"id":"%s","name":"%s","created":7,"config":{"Image":"x"},"host":{"NetworkMode":"%s",
"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8"}]}},"image_id":"i","platform":"wasi/wasm",
"args":["/a"],"layers":[],"mounts":[]}"""
_LIFE = b'{"state":{"Status":"exited"},"restart_count":3}'


def test_containers_of_before_networks_are_in_the_one_of_their_mode(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    with sqlite3.connect(path) as old:
        old.executescript(_FIRST)
        for name in (b"default", b"bridge", b"none"):
            old.execute(
                "INSERT INTO container VALUES (?, ?, ?, ?)",
                (name.decode(), name.decode(), _RECORD % (name, name, name), _LIFE),
            )
    old.close()
    for _ in range(2):
        state = State(path)
        found = {record.name: (record, life) for record, life in state.containers()}
        for old_mode, mode in (("default", "bridge"), ("bridge", "bridge"), ("none", "none")):
            record, life = found[old_mode]
            assert (record.host.network_mode, record.networks) == (mode, {mode: EndpointConfig()})
            assert (record.created, life.restart_count, life.plugged) == (7, 3, None)
            assert list(record.host.port_bindings) == ["80/tcp"]
        assert list(state.networks()) == []
        state.close()


def _record(name: str) -> Record:
    return Record(
        id=name, name=name, created=1, config=ContainerConfig(), host=HostConfig(), image_id="i",
        platform="wasi/wasm", args=["/a"], layers=[], mounts=[],
        networks={"mine": EndpointConfig(aliases=["b"])},
    )  # fmt: skip


def test_what_was_kept_is_there_again(tmp_path: Path) -> None:
    record = _record("a")
    network = NetworkRecord(id="n", name="mine", created=2, driver="bridge")
    state = State(tmp_path / "engine.db")
    state.add_container(record, Life())
    state.save_network(network)
    network.made = True
    state.save_network(network)
    state.close()
    state = State(tmp_path / "engine.db")
    assert [found for found, _ in state.containers()] == [record]
    assert list(state.networks()) == [network]
    state.remove_network("n")
    assert list(state.networks()) == []
    state.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.root
def test_what_happens_on_a_full_disk_is_written_when_there_is_room(small: Path) -> None:
    state = State(small / "engine.db")
    for name in "ab":
        state.add_container(_record(name), Life())
    ballast = small / "ballast"
    with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    ended = Life(restart_count=7)
    ended.state.error = "x" * 300_000
    with pytest.raises(EngineError, match="full"):
        state.save_life("a", ended)
    state.note_life("a", ended)
    assert [life for _, life in state.containers()] == [Life(), Life()]
    ballast.unlink()
    state.set_fact("any", "thing")
    state.close()
    state = State(small / "engine.db")
    assert [life for _, life in state.containers()] == [ended, Life()]
    state.close()


@pytest.mark.root
def test_containers_can_be_removed_on_a_full_disk(small: Path) -> None:
    state = State(small / "engine.db")
    for name in "abc":
        state.add_container(_record(name), Life())
    with pytest.raises(OSError), (small / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    for name in "abc":
        state.remove_container(name)
    assert list(state.containers()) == []
    state.close()


@pytest.mark.root
def test_what_has_gone_on_a_full_disk_is_forgotten_when_there_is_room(small: Path) -> None:
    state = State(small / "engine.db")
    state.add_volumes([VolumeRow(name="v", created=1, labels={})])
    for name in "ab":
        state.add_container(_record(name), Life())
    ballast = small / "ballast"
    (small / "engine.reserve").unlink()  # It was needed already.
    with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    ended = Life()
    ended.state.error = "x" * 300_000
    state.note_life("a", ended)
    state.note_removed("a", ["v"])
    state.remove_volumes(["v"])
    assert len([*state.containers()]) == 2
    ballast.unlink()
    state.add_container(_record("c"), Life())
    assert sorted(record.id for record, _ in state.containers()) == ["b", "c"]
    assert [*state.volumes()] == []
    state.close()


@pytest.mark.root
def test_the_file_is_opened_on_a_full_disk(small: Path) -> None:
    state = State(small / "engine.db")
    state.add_container(_record("a"), Life())
    state.close()
    with pytest.raises(OSError), (small / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    state = State(small / "engine.db")
    state.set_fact("any", "thing")
    state.remove_container("a")
    assert [*state.containers()] == []
    state.close()
    (small / "engine.reserve").unlink()
    with (small / "ballast").open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(EngineError, match="disk is not full"):
        State(small / "engine.db")


def test_a_file_of_the_future_is_refused(tmp_path: Path) -> None:
    State(tmp_path / "engine.db").close()
    with sqlite3.connect(tmp_path / "engine.db") as file:
        file.execute("PRAGMA user_version=99")
    file.close()
    with pytest.raises(EngineError, match="newer wherry"):
        State(tmp_path / "engine.db")
