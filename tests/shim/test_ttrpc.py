"""ttrpc: frames, the two state machines, and asyncio around them."""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.shim.messages import TaskRequest
from wherry.shim.protobuf import Empty
from wherry.shim.ttrpc import CallError, Code
from wherry.shim.ttrpc.client import Client
from wherry.shim.ttrpc.connection import Call, ClientConnection, Reply, ServerConnection
from wherry.shim.ttrpc.frames import (
    MAX_DATA,
    REQUEST,
    RESPONSE,
    Frame,
    FrameDecoder,
    encode_frame,
)
from wherry.shim.ttrpc.server import Server

_FRAMES = st.lists(
    st.builds(
        Frame,
        st.integers(0, 2**32 - 1),
        st.integers(0, 255),
        st.just(0),
        st.binary(max_size=50),
    )
)


def header(length: int, stream: int, type: int = REQUEST, flags: int = 0) -> bytes:
    return struct.pack(">IIBB", length, stream, type, flags)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(frames=_FRAMES, size=st.integers(1, 40))
def test_frames_arrive_whole_however_the_stream_is_cut(frames: list[Frame], size: int) -> None:
    data = b"".join(encode_frame(f.stream, f.type, f.data or b"") for f in frames)
    decoder = FrameDecoder()
    assert [frame for part in cut(data, size) for frame in decoder.feed(part)] == frames


@given(data=st.binary(max_size=300), size=st.integers(1, 40))
def test_no_bytes_break_the_decoder(data: bytes, size: int) -> None:
    decoder = FrameDecoder()
    for part in cut(data, size):
        list(decoder.feed(part))


def test_a_frame_that_is_too_long_is_skipped_and_reported() -> None:
    server = ServerConnection()
    parts = [header(MAX_DATA + 5, 1), bytes(MAX_DATA), bytes(5)]
    replies = [event for part in parts for event in server.receive(part)]
    assert len(replies) == 1
    _, data = ClientConnection().call("s", "m", b"x")
    assert [type(event) for event in server.receive(data)] == [Call]
    assert isinstance(replies[0], bytes)
    client = ClientConnection()
    (reply,) = client.receive(replies[0])
    assert reply.error is not None
    assert reply.error.code is Code.RESOURCE_EXHAUSTED


@given(payload=st.binary(max_size=200), answer=st.binary(max_size=200))
def test_a_call_reaches_the_server_and_its_answer_the_client(payload: bytes, answer: bytes) -> None:
    client, server = ClientConnection(), ServerConnection()
    stream, data = client.call("service", "Method", payload, 5)
    assert list(server.receive(data)) == [Call(stream, "service", "Method", payload, 5)]
    assert list(client.receive(server.answer(stream, answer))) == [Reply(stream, answer, None)]


def test_an_answer_always_carries_a_status_since_containerd_1_6_wants_one() -> None:
    frame = ServerConnection().answer(1, b"")
    assert frame == header(2, 1, RESPONSE) + b"\x0a\x00"


@pytest.mark.parametrize(
    "data",
    [
        header(0, 2),
        header(1, 1) + b"\xff",
        header(0, 1, 3),
        header(0, 1, REQUEST, 2),
    ],
    ids=["even stream", "nonsense", "data of no stream", "streaming"],
)
def test_a_malformed_request_is_refused_and_the_connection_lives_on(data: bytes) -> None:
    server = ServerConnection()
    (refusal,) = server.receive(data)
    assert isinstance(refusal, bytes)
    (reply,) = ClientConnection().receive(refusal)
    assert reply.error is not None
    assert reply.error.code in (Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED)
    assert list(server.receive(encode_frame(3, REQUEST, b"\x0a\x01a"))) == [
        Call(3, "a", "", b"", 0)
    ]


def test_stream_numbers_must_grow() -> None:
    server = ServerConnection()
    data = encode_frame(5, REQUEST, b"")
    kinds = [type(event) for event in server.receive(data + data)]
    assert kinds == [Call, bytes]


def test_an_answer_too_long_for_a_frame_becomes_an_error() -> None:
    (reply,) = ClientConnection().receive(ServerConnection().answer(1, bytes(MAX_DATA)))
    assert reply.error is not None
    assert reply.error.code is Code.RESOURCE_EXHAUSTED


async def echo(payload: bytes) -> TaskRequest:
    request = TaskRequest.decode(payload)
    if request.id == "forever":
        await asyncio.Event().wait()
    if request.id == "defect":
        raise ZeroDivisionError("oops")
    if request.id == "refused":
        raise CallError(Code.NOT_FOUND, "no such thing")
    return request


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[str]:
    import socket

    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    server = Server({"echo": {"Echo": echo}}, lambda line: None)
    await server.listen(listener)
    yield path
    server.close()


async def call(client: Client, id: str, method: str = "Echo", service: str = "echo") -> str:
    return (await client.call(service, method, TaskRequest(id=id), TaskRequest)).id


async def test_calls_overlap(path: str) -> None:
    client = await Client.connect(path)
    stuck = asyncio.ensure_future(call(client, "forever"))
    assert await asyncio.gather(*(call(client, str(n)) for n in range(20))) == [
        str(n) for n in range(20)
    ]
    stuck.cancel()
    client.close()


@pytest.mark.parametrize(
    ("id", "method", "service", "code"),
    [
        ("refused", "Echo", "echo", Code.NOT_FOUND),
        ("defect", "Echo", "echo", Code.INTERNAL),
        ("", "Checkpoint", "echo", Code.UNIMPLEMENTED),
        ("", "Echo", "other", Code.UNIMPLEMENTED),
    ],
)
async def test_a_failed_call_has_a_code_and_the_next_one_is_answered(
    path: str, id: str, method: str, service: str, code: Code
) -> None:
    client = await Client.connect(path)
    with pytest.raises(CallError) as failure:
        await call(client, id, method, service)
    assert failure.value.code is code
    assert await call(client, "next") == "next"
    client.close()


async def test_a_call_may_have_a_deadline(path: str) -> None:
    client = await Client.connect(path)
    with pytest.raises(CallError) as failure:
        await client.call("echo", "Echo", TaskRequest(id="forever"), Empty, 0.01)
    assert failure.value.code is Code.DEADLINE_EXCEEDED
    assert await call(client, "later") == "later"
    client.close()


async def test_calls_under_way_fail_when_the_connection_breaks(path: str) -> None:
    client = await Client.connect(path)
    stuck = asyncio.ensure_future(call(client, "forever"))
    await asyncio.sleep(0)
    client.close()
    with pytest.raises(CallError) as failure:
        await stuck
    assert failure.value.code is Code.UNAVAILABLE
    assert client.closed.is_set()
    with pytest.raises(CallError):
        await call(client, "more")
