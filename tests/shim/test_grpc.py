"""The gRPC client: one call as a state machine, fed by a server made of h2."""

from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived
from hypothesis import given
from hypothesis import strategies as st

from wherry.oci import Descriptor, MediaType
from wherry.shim.containerd import Images
from wherry.shim.containerd.artifact import Artifacts
from wherry.shim.containerd.grpc import Exchange, call
from wherry.shim.ttrpc import CallError, Code

METHOD = "/containerd.services.content.v1.Content/Read"


class Peer:
    """The server's end of one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.http.initiate_connection()
        self.headers: dict[str, str] = {}
        self.body = b""
        for event in self.http.receive_data(exchange.to_send()):
            if isinstance(event, RequestReceived):
                self.headers = {str(name): str(value) for name, value in event.headers or ()}
            elif isinstance(event, DataReceived):
                self.body += event.data or b""

    def answer(self, *messages: bytes, status: int = 0, reason: str = "") -> bytes:
        self.http.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
        for message in messages:
            self.http.send_data(1, framed(message))
        trailers = [("grpc-status", str(status)), ("grpc-message", reason)]
        self.http.send_headers(1, trailers, end_stream=True)
        return self.http.data_to_send()


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4) + message


def test_a_call_names_its_method_and_metadata() -> None:
    peer = Peer(Exchange(METHOD, b"request", {"containerd-namespace": "k8s.io"}))
    assert peer.headers[":path"] == METHOD
    assert peer.headers["containerd-namespace"] == "k8s.io"
    assert peer.body == framed(b"request")


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 50))
def test_messages_arrive_however_the_bytes_are_cut(messages: list[bytes], size: int) -> None:
    exchange = Exchange(METHOD, b"", {})
    data = Peer(exchange).answer(*messages)
    received = [
        message
        for start in range(0, len(data), size)
        for message in exchange.receive(data[start : start + size])
    ]
    assert received == messages
    assert exchange.ended


def test_a_refusal_has_the_servers_code_and_words() -> None:
    exchange = Exchange(METHOD, b"", {})
    with pytest.raises(CallError, match="no such image: ä") as raised:
        exchange.receive(Peer(exchange).answer(status=5, reason="no such image: %C3%A4"))
    assert raised.value.code is Code.NOT_FOUND


@pytest.mark.parametrize("header", [b"\1\0\0\0\1x", b"\0\xff\xff\xff\xff"])
def test_a_compressed_or_an_enormous_message_is_refused(header: bytes) -> None:
    exchange = Exchange(METHOD, b"", {})
    peer = Peer(exchange)
    peer.http.send_headers(1, [(":status", "200")])
    peer.http.send_data(1, header)
    with pytest.raises(CallError):
        exchange.receive(peer.http.data_to_send())


@given(st.binary(max_size=200))
def test_nonsense_never_crashes(data: bytes) -> None:
    try:
        Exchange(METHOD, b"", {}).receive(data)
    except CallError as error:
        assert error.code is Code.UNAVAILABLE


async def test_nobody_there_is_said_with_the_socket() -> None:
    with pytest.raises(CallError, match=r"/no/such\.sock") as raised:
        async for _ in call("/no/such.sock", METHOD, b"", {}):
            pass
    assert raised.value.code is Code.UNAVAILABLE


class OneLayer(Artifacts):
    """Artifacts of one module, which nobody hands out."""

    async def _layers(self, container: str) -> list[Descriptor]:
        return [Descriptor(media_type=MediaType.WASM_LAYER, digest=f"sha256:{'0' * 64}", size=1)]


async def test_a_module_that_cannot_be_had_is_the_reason_that_is_told(tmp_path: Path) -> None:
    """And not that the program is missing; nothing half-written is left."""
    folder = tmp_path / "artifacts"
    artifacts = OneLayer(Images("/no/such.sock", "ns", str(folder)), print)
    with pytest.raises(CallError, match=r"cannot be had: .*/no/such\.sock"):
        await artifacts.module_of("c", "/main.wasm")
    assert list(folder.iterdir()) == []


async def test_a_folder_of_modules_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    artifacts = OneLayer(Images("/no/such.sock", "ns", f"{tmp_path}/file/x"), print)
    with pytest.raises(CallError, match=r"cannot be had: .*Not a directory"):
        await artifacts.module_of("c", "/main.wasm")


async def test_a_containerd_that_tells_nothing_is_reported_only(tmp_path: Path) -> None:
    reports: list[str] = []
    artifacts = Artifacts(Images("/no/such.sock", "ns", str(tmp_path)), reports.append)
    assert await artifacts.module_of("c", "/main.wasm") is None
    assert "/no/such.sock" in reports[0]
