"""Requests over a real socket to a daemon of a few lines."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.fake_daemon import Answer, FakeDaemon, Request, frame, json_answer

from wherry.client import (
    Client,
    DaemonError,
    DaemonUnreachable,
    ProtocolError,
    parse_address,
)
from wherry.client.client import quote, target_of


def client_of(daemon: FakeDaemon) -> Client:
    return Client(parse_address(daemon.host))


def test_a_connection_is_used_again(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, lambda r: json_answer({"path": r.path})) as daemon:
        client = client_of(daemon)
        for number in range(3):
            assert client.get(f"/thing/{number}") == {"path": f"/thing/{number}"}
        assert daemon.connections == 1


def test_a_connection_the_daemon_has_closed_is_not(tmp_path: Path) -> None:
    closing: list[socket.socket] = []
    with FakeDaemon(tmp_path, lambda r: json_answer(1)) as daemon:
        client = client_of(daemon)
        client.get("/a")
        closing.extend(daemon.open_sockets())
        closing[0].shutdown(socket.SHUT_RDWR)
        assert client.get("/b") == 1
        assert daemon.connections == 2


def test_requests_at_once_take_connections_of_their_own(tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=20)

    def handler(request: Request) -> Answer:
        together.wait()
        return json_answer(request.path)

    with FakeDaemon(tmp_path, handler) as daemon:
        client = client_of(daemon)
        pending = [client.start("GET", f"/{n}") for n in range(3)]
        assert [one.response().json() for one in pending] == ["/0", "/1", "/2"]


def test_a_refusal_carries_the_daemons_words(tmp_path: Path) -> None:
    refusal = json_answer({"message": "No such container: x", "exitCode": 126}, 404)
    with FakeDaemon(tmp_path, lambda r: refusal) as daemon:
        with pytest.raises(DaemonError, match="No such container: x") as caught:
            client_of(daemon).get("/containers/x/json")
        assert (caught.value.status, caught.value.exit_code) == (404, 126)


@pytest.mark.parametrize(("body", "said"), [(b"", "HTTP status 500"), (b"oops\n", "oops")])
def test_a_refusal_without_json_is_told_as_well(tmp_path: Path, body: bytes, said: str) -> None:
    with (
        FakeDaemon(tmp_path, lambda r: Answer(500, body)) as daemon,
        pytest.raises(DaemonError, match=said),
    ):
        client_of(daemon).post("/x")


def test_a_json_body_is_sent(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, lambda r: Answer(204)) as daemon:
        assert (
            client_of(daemon).post("/x", {"a": [1, 2], "b": True, "c": ""}, {"Näme": [None]})
            is None
        )
        (request,) = daemon.requests
        assert request.json == {"Näme": [None]}
        assert request.query == {"a": ["1", "2"], "b": ["1"]}


def test_a_long_body_goes_out_as_it_is_produced(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, lambda r: json_answer(len(r.body))) as daemon:
        body: Iterator[bytes] = (b"x" * 1000 for _ in range(500))
        assert client_of(daemon).request("POST", "/build", None, body).json() == 500_000
        assert daemon.requests[0].headers["transfer-encoding"] == "chunked"


def test_a_daemon_that_refuses_early_is_heard(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "early.sock"))
    listener.listen()

    def refuse() -> None:
        sock, _ = listener.accept()
        sock.recv(10)
        sock.sendall(b'HTTP/1.1 400 Bad\r\nContent-Length: 19\r\n\r\n{"message":"a lot"}')
        sock.shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=refuse)
    thread.start()
    client = Client(parse_address(f"unix://{tmp_path}/early.sock"))
    endless = iter(lambda: b"x" * 100_000, b"")
    with pytest.raises(DaemonError, match="a lot"):
        client.request("POST", "/build", None, endless)
    thread.join()
    listener.close()


def test_a_stream_of_lines_is_handed_out_line_by_line(tmp_path: Path) -> None:
    second = threading.Event()

    def body() -> Iterator[bytes]:
        yield b'{"n":1}\r\n{"n'
        second.wait(60)
        yield b'":2}\n\n{"n":3}'

    with FakeDaemon(tmp_path, lambda r: Answer(200, body())) as daemon:
        lines = client_of(daemon).request("GET", "/events").lines()
        assert next(lines) == {"n": 1}
        second.set()
        assert list(lines) == [{"n": 2}, {"n": 3}]


def test_a_hijacked_connection_carries_both_ways(tmp_path: Path) -> None:
    def echo(sock: socket.socket) -> None:
        sock.sendall(frame(1, b"ready"))
        while data := sock.recv(100):
            sock.sendall(data.upper())
        sock.sendall(b"closed")

    with FakeDaemon(tmp_path, lambda r: echo) as daemon:
        stream = client_of(daemon).hijack("/containers/x/attach", {"stream": True}).stream()
        seen = b""
        while len(seen) < 13:
            seen += stream.receive()
        assert seen == frame(1, b"ready")
        assert stream.send(b"ahoy")
        assert stream.receive() == b"AHOY"
        stream.close_write()
        assert stream.receive() == b"closed"
        assert stream.receive() == b""
        stream.close()


def test_nobody_there_is_told_with_the_address(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable, match=r"none\.sock"):
        Client(parse_address(f"unix://{tmp_path}/none.sock")).get("/version")
    with pytest.raises(DaemonUnreachable, match=r"tcp://127\.0\.0\.1:1"):
        Client(parse_address("tcp://127.0.0.1:1")).get("/version")


def test_what_is_no_daemon_is_told(tmp_path: Path) -> None:
    with (
        FakeDaemon(tmp_path, lambda r: Answer(200, b"<html>")) as daemon,
        pytest.raises(ProtocolError, match="not JSON"),
    ):
        client_of(daemon).get("/version")


def test_tcp_works_as_well() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        sock, _ = listener.accept()
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42")

    thread = threading.Thread(target=serve)
    thread.start()
    client = Client(parse_address(f"tcp://127.0.0.1:{listener.getsockname()[1]}"))
    assert client.get("/x") == 42
    thread.join()
    client.close()
    listener.close()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_in_a_query(text: str) -> None:
    query = urlsplit(target_of("/x", {"name": text})).query
    assert parse_qs(query, keep_blank_values=True).get("name", [""]) == [text]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_in_a_path_can_end_it(text: str) -> None:
    quoted = quote(text)
    assert unquote_to_bytes(quoted) == text.encode()
    assert not set(quoted) & set(" ?#\r\n\t")
