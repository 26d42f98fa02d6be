"""Whatever is under way ends at once when it is to, and nothing else does."""

from __future__ import annotations

import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.registries import (
    Answer,
    CutAnswer,
    Faults,
    Hold,
    RealRegistry,
    registry,
)
from tests.registry.conftest import IMPATIENT
from tests.registry.images import Sample, everything, repository_at, send

from wherry.oci import parse_reference
from wherry.registry import (
    Abandoned,
    Cancel,
    Client,
    Credentials,
    Hosts,
    Patience,
)

ANN = Credentials("ann", "secret")


def waiting(faults: Faults, method: str, where: str) -> Hold:
    hold = Hold()
    faults.add(method, where, hold, times=10)
    return hold


@pytest.mark.parametrize("what", ["manifest", "blob", "upload", "resume"])
def test_a_cancelled_transfer_ends_at_once(
    faults: Faults, client: Client, sample: Sample, path: str, what: str
) -> None:
    sample.push(repository_at(client, f"{faults.name}/{path}"))
    cancel = Cancel()
    repository = repository_at(client, f"{faults.name}/{path}", cancel=cancel)
    if what == "resume":
        faults.add("GET", "/blobs/", CutAnswer(100_000))
    hold = waiting(faults, "GET|PUT", {"manifest": "/manif", "upload": "/upl"}.get(what, "/blobs/"))

    def transfer() -> None:
        if what == "manifest":
            repository.manifest("latest")
        elif what == "upload":
            send(repository, b"new" * 1_000_000)
        else:
            with repository.blob(sample.layer_descriptor) as stream:
                everything(stream)

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(transfer)
        assert hold.reached.wait(30)
        cancel.cancel()
        with pytest.raises(Abandoned):
            running.result(timeout=30)  # a server may be silent for a minute
    with pytest.raises(Abandoned):
        repository.manifest("latest")
    hold.released.set()
    # Others of the same client are left alone.
    assert repository_at(client, f"{faults.name}/{path}").manifest("latest")[1] == sample.manifest


def test_a_cancelled_wait_for_another_try_ends_at_once(faults: Faults, path: str) -> None:
    client = Client(Hosts(), patience=Patience(first=1000.0, longest=1000.0))
    cancel = Cancel()
    repository = repository_at(client, f"{faults.name}/{path}", cancel=cancel)
    faults.add("GET", "", Answer(503))
    hold = waiting(faults, "GET", "")
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(repository.manifest, "latest")
        threading.Timer(0, cancel.cancel).start()
        with pytest.raises(Abandoned):
            running.result(timeout=30)
    assert not hold.reached.is_set()


def test_connecting_to_who_never_answers_is_cancelled(client: Client, path: str) -> None:
    # A listener whose queue is full drops what else wants to connect, without a word.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        queue = [socket.socket() for _ in range(4)]
        for sock in queue:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        cancel = Cancel()
        repository = repository_at(client, f"127.0.0.1:{port}/{path}", cancel=cancel)
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(repository.manifest, "latest")
            threading.Timer(0.1, cancel.cancel).start()
            with pytest.raises(Abandoned):
                running.result(timeout=10)
        for sock in queue:
            sock.close()


@pytest.mark.parametrize("kind", ["open_registry", "tls_registry"])
@pytest.mark.parametrize("what", ["manifest", "blob", "upload"])
def test_a_server_that_falls_silent_is_left_at_once_when_asked_to(
    kind: str, what: str, sample: Sample, path: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    real: RealRegistry = request.getfixturevalue(kind)
    (tmp_path / real.name).mkdir()
    if real.ca:
        shutil.copy(real.ca, tmp_path / real.name / "ca.crt")
    client = Client(Hosts([tmp_path]), patience=IMPATIENT)
    large = Sample(40 << 20)
    cancel = Cancel()
    repository = repository_at(client, f"{real.name}/{path}", cancel=cancel)
    sample.push(repository)
    send(repository, large.layer)
    told = threading.Event()

    def transfer() -> None:
        if what == "manifest":
            told.set()
            repository.manifest("latest")
        elif what == "upload":
            told.set()
            send(repository, b"other" + large.layer)
        else:
            with repository.blob(large.layer_descriptor) as stream:
                stream.read(10)
                real.pause()
                told.set()
                everything(stream)

    if what != "blob":
        real.pause()
    try:
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(transfer)
            assert told.wait(30)
            cancel.cancel()
            with pytest.raises(Abandoned):
                running.result(timeout=30)
    finally:
        real.resume()


def test_a_handshake_that_does_not_end_is_cancelled(client: Client, path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        cancel = Cancel()
        name = f"127.0.0.1:{mute.getsockname()[1]}"
        repository = repository_at(client, f"{name}/{path}", cancel=cancel)
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(repository.manifest, "latest")
            connection, _ = mute.accept()
            with connection:
                assert connection.recv(1)  # of its ClientHello
                cancel.cancel()
                with pytest.raises(Abandoned):
                    running.result(timeout=10)


def test_an_answer_as_long_as_its_connection_is_cancelled(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        cancel = Cancel()
        asking = thread.submit(client.fetch, f"http://127.0.0.1:{server.getsockname()[1]}/", cancel)
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nsome")
            with asking.result(timeout=30) as file:
                assert file.read(4) == b"some"
                reading = thread.submit(file.read, 4)
                cancel.cancel()
                with pytest.raises(Abandoned):
                    reading.result(timeout=30)


def test_who_waits_for_anothers_token_is_cancelled_alone(sample: Sample, path: str) -> None:
    with registry(token=True) as real:
        client = Client(Hosts(), patience=IMPATIENT)
        name = f"{real.name}/{path}"
        sample.push(repository_at(client, name, ANN))
        assert real.tokens
        with real.tokens.held() as asked, ThreadPoolExecutor(2) as threads:
            cancel = Cancel()
            first = client.repository(parse_reference(name), ANN)
            second = client.repository(parse_reference(name), ANN, cancel)
            waiting = threads.submit(first.manifest, "latest")
            assert asked.wait(30)
            also_waiting = threads.submit(second.manifest, "latest")
            cancel.cancel()
            with pytest.raises(Abandoned):
                also_waiting.result(timeout=30)
            real.tokens.release()
            assert waiting.result(timeout=30)[1] == sample.manifest
