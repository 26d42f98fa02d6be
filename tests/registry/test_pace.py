"""What comes slowly, and what does not come at all."""

from __future__ import annotations

import contextlib
import io
import itertools
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from tests.registries import Answer, Faults, Garbage, Hold
from tests.registry.conftest import IMPATIENT
from tests.registry.images import Sample, repository_at, send

from wherry.registry import Abandoned, Cancel, Client, Hosts, InvalidAnswer, NotFound, Unreachable
from wherry.registry.pace import LEAST, SECONDS, Paced, TooSlow

Clock = Callable[[float], None]


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Has the clock of `Paced` go on by some seconds."""
    now = [0.0]
    monkeypatch.setattr("wherry.registry.pace.monotonic", lambda: now[0])

    def go_on(seconds: float) -> None:
        now[0] += seconds

    return go_on


def paced(pass_time: Clock, pieces: list[tuple[float, int]]) -> Paced:
    """A connection that gives so many bytes after so many seconds each time."""

    class Slow(io.RawIOBase):
        def readinto(self, buffer: Any) -> int:
            seconds, size = pieces.pop(0) if pieces else (0.0, 0)
            pass_time(seconds)
            return size

    return Paced(Slow())


def read_all(stream: Paced) -> int:
    return sum(iter(lambda: stream.readinto(bytearray(LEAST)) or 0, 0))


@pytest.mark.parametrize(
    "pieces",
    [
        [(0.0, 100), *[(10.0, 9_990)] * 20],
        [(0.0, 100), *[(1.0, 900)] * 200],
        [(0.0, 100), (30.0, 1), *[(0.1, 20_000)] * 3, *[(SECONDS, 1)] * 5],
    ],
)
def test_next_to_nothing_is_too_slow(pass_time: Clock, pieces: list[tuple[float, int]]) -> None:
    with pytest.raises(TooSlow):
        read_all(paced(pass_time, pieces))


@pytest.mark.parametrize(
    "pieces",
    [
        [(0.0, 100), *[(10.0, 10_010)] * 20],
        # Who stores what was sent takes his time before he begins to answer.
        [(590.0, 300), (1.0, 20)],
        [(0.0, 100), (SECONDS - 1, LEAST), (SECONDS - 1, LEAST)],
    ],
)
def test_what_is_slow_comes(pass_time: Clock, pieces: list[tuple[float, int]]) -> None:
    expected = sum(size for _, size in pieces)
    assert read_all(paced(pass_time, [*pieces])) == expected


def test_the_time_of_who_reads_does_not_count(pass_time: Clock) -> None:
    stream = paced(pass_time, [(0.0, 1)] * 10)
    for _ in range(10):
        assert stream.readinto(bytearray(1)) == 1
        pass_time(1000.0)


def test_a_blob_that_drips_is_given_up(
    faults: Faults, client: Client, sample: Sample, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    repository.manifest("latest")
    length = {"Content-Length": str(len(sample.layer))}
    drip = Answer(200, length, itertools.repeat(b"."))
    faults.add("GET", "/blobs/", drip, times=IMPATIENT.tries)
    seconds = itertools.count(step=SECONDS)
    monkeypatch.setattr("wherry.registry.pace.monotonic", lambda: next(seconds))
    with (
        repository.blob(sample.layer_descriptor) as stream,
        pytest.raises(Unreachable, match="sends next to nothing"),
    ):
        stream.read(len(sample.layer))
    assert len(faults.requests("GET", "/blobs/")) == IMPATIENT.tries


def test_an_answer_may_be_announced_but_not_for_ever(
    faults: Faults, client: Client, path: str
) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    faults.add("GET", "", Garbage(early + b"HTTP/1.1 404 Not Found\r\n\r\n"))
    with pytest.raises(NotFound):
        repository_at(client, f"{faults.name}/{path}").manifest("latest")
    faults.add("GET", "", Garbage(early * 100))
    faults.add("GET", "", Garbage(b"HTTP/1.1 100 Continue\r\n\r\n" * 100))
    for _ in range(2):
        with pytest.raises(InvalidAnswer, match="goes on announcing an answer"):
            repository_at(client, f"{faults.name}/{path}").manifest("latest")


def test_who_stores_a_blob_may_be_silent_for_longer(
    faults: Faults, client: Client, sample: Sample, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    monkeypatch.setattr("wherry.registry.connection.SECONDS", 0.5)
    storing, silent = Hold(), Hold()
    faults.add("PUT", "/uploads/", storing)
    faults.add("GET", "/manifests/", silent, times=IMPATIENT.tries)
    with ThreadPoolExecutor(1) as thread:
        sending = thread.submit(send, repository, sample.config)
        try:
            assert storing.reached.wait(30)
            with pytest.raises(Unreachable, match="says nothing any more"):
                repository_at(client, f"{faults.name}/{path}").manifest("latest")
        finally:
            storing.released.set()
        sending.result(30)
    assert len(faults.requests("PUT")) == 1


class Resolver:
    """A resolver that answers when it is let to. `asked` is how often it was."""

    def __init__(self) -> None:
        self.asked = 0
        self.reached = Event()
        self.answers = Event()
        self._real = socket.getaddrinfo

    def __call__(self, host: str, port: int, *args: Any, **options: Any) -> Any:
        if options.get("flags") or host != "registry.test":
            return self._real(host, port, *args, **options)
        self.asked += 1
        self.reached.set()
        assert self.answers.wait(30)
        return self._real("127.0.0.1", port, *args, **options)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    silent = Resolver()
    monkeypatch.setattr("wherry.registry.lookup.socket.getaddrinfo", silent)
    yield silent
    silent.answers.set()


def at(name: str, folder: Path, options: str = "") -> Client:
    """A client that speaks plain HTTP with a host of that name."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "hosts.toml").write_text(f'server = "http://{name}"\n{options}')
    return Client(Hosts([folder]), patience=IMPATIENT)


def test_a_lookup_is_left_at_once_when_asked_to(
    faults: Faults, resolver: Resolver, sample: Sample, path: str, tmp_path: Path
) -> None:
    """Two who wait for one name; one leaves, the other gets what he came for."""
    sample.push(repository_at(Client(Hosts()), f"{faults.name}/{path}"))
    name = f"registry.test:{faults.name.rpartition(':')[2]}"
    client, cancel = at(name, tmp_path), Cancel()
    with ThreadPoolExecutor(2) as threads:
        leaving = threads.submit(
            repository_at(client, f"{name}/{path}", cancel=cancel).manifest, "latest"
        )
        assert resolver.reached.wait(30)
        staying = threads.submit(repository_at(client, f"{name}/{path}").manifest, "latest")
        cancel.cancel()
        with pytest.raises(Abandoned):
            leaving.result(30)
        resolver.answers.set()
        assert staying.result(30)[1] == sample.manifest


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    faults: Faults, sample: Sample, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample.push(repository_at(Client(Hosts()), f"{faults.name}/{path}"))
    client = at("registry.test", tmp_path, 'dial_timeout = "1s"')
    alive = ("127.0.0.1", int(faults.name.rpartition(":")[2]))
    # A listener whose queue is full drops what else wants to connect, without a word.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as dead, contextlib.ExitStack() as queue:
        for _ in range(4):
            sock = queue.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(dead.getsockname())
        places = [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", a) for a in (dead.getsockname(), alive)
        ]
        monkeypatch.setattr("wherry.registry.connection._LEAST_SECONDS", 0.05)
        monkeypatch.setattr("wherry.registry.connection.addresses", lambda *_: places)
        repository = repository_at(client, f"registry.test/{path}")
        assert repository.manifest("latest")[1] == sample.manifest


def test_a_resolver_that_says_nothing_is_told(
    faults: Faults, resolver: Resolver, path: str, tmp_path: Path
) -> None:
    client = at("registry.test:1", tmp_path, 'dial_timeout = "20ms"')
    for _ in range(3):
        with pytest.raises(Unreachable, match=r"no resolver says where registry\.test is"):
            repository_at(client, f"registry.test:1/{path}").manifest("latest")
    assert resolver.asked == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [(socket.EAI_AGAIN, "no resolver says where"), (socket.EAI_NONAME, "there is no host")],
)
def test_what_a_resolver_says_is_told(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    def refuse(*_: object) -> None:
        raise socket.gaierror(code, "no")

    monkeypatch.setattr("wherry.registry.connection.addresses", refuse)
    with pytest.raises(Unreachable, match=f"{said} registry.test"):
        repository_at(at("registry.test", tmp_path), f"registry.test/{path}").manifest("latest")
