"""The HTTP response parser: the same answer however it arrives, no crash whatever arrives."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.client.errors import ProtocolError
from wherry.client.http import MAX_HEAD, ResponseParser

cuts = st.lists(st.integers(0, 2000), max_size=20)


def portions(data: bytes, at: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(cut for cut in at if cut < len(data))})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


def parse(
    data: bytes, at: list[int] | None = None, method: str = "GET"
) -> tuple[ResponseParser, bytes]:
    parser = ResponseParser(method)
    body = b"".join(parser.feed(portion) for portion in portions(data, at or []))
    return parser, body


def chunked(chunks: list[bytes]) -> bytes:
    sized = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sized + b"0\r\n\r\n"


@given(body=st.binary(max_size=500), at=cuts)
def test_a_body_of_known_length_is_the_same_however_it_arrives(body: bytes, at: list[int]) -> None:
    data = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\nX-A:  b \r\n\r\n" % len(body) + body
    parser, seen = parse(data, at)
    assert (parser.status, parser.headers["x-a"], seen) == (201, "b", body)
    assert parser.done
    assert parser.reusable


@given(chunks=st.lists(st.binary(max_size=60), max_size=12), at=cuts)
def test_a_chunked_body_is_the_same_however_it_arrives(chunks: list[bytes], at: list[int]) -> None:
    parser, seen = parse(chunked(chunks), at)
    assert seen == b"".join(chunks)
    assert parser.done
    assert parser.reusable


def test_a_chunk_may_have_extensions_and_the_end_a_trailer() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    parser, seen = parse(head + b"3;name=value\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert seen == b"abc"
    assert parser.done


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status: int) -> None:
    parser, _ = parse(b"HTTP/1.1 %d X\r\nContent-Length: 10\r\n\r\n" % status)
    assert parser.done


def test_an_answer_to_head_has_no_body() -> None:
    parser, _ = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", method="HEAD")
    assert parser.done


def test_informational_answers_are_skipped() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    parser, seen = parse(data)
    assert (parser.status, seen) == (200, b"hi")


def test_after_an_upgrade_bytes_flow_until_the_end() -> None:
    parser, seen = parse(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n\x00\x01raw")
    assert seen == b"\x00\x01raw"
    assert parser.feed(b"more") == b"more"
    assert not parser.done
    parser.feed_eof()
    assert parser.done
    assert not parser.reusable


def test_without_a_length_the_end_of_the_connection_ends_the_body() -> None:
    parser, seen = parse(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    assert seen == b"all of it"
    parser.feed_eof()
    assert parser.done


@pytest.mark.parametrize("header", [b"Connection: close", b"connection: Close"])
def test_a_connection_that_closes_is_not_used_again(header: bytes) -> None:
    parser, _ = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + header + b"\r\n\r\n")
    assert not parser.reusable


def test_bytes_behind_the_answer_spoil_the_connection() -> None:
    parser, _ = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nsurprise")
    assert parser.done
    assert not parser.reusable


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 5000,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (MAX_HEAD + 10),
    ],
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ],
)
def test_an_end_in_the_middle_is_refused(data: bytes) -> None:
    parser, _ = parse(data)
    with pytest.raises(ProtocolError):
        parser.feed_eof()


@given(data=st.binary(max_size=200), at=cuts)
def test_nothing_but_a_protocol_error_comes_of_any_bytes(data: bytes, at: list[int]) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        with contextlib.suppress(ProtocolError):
            parse(prefix + data, at)
