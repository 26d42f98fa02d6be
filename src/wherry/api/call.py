"""One request of the API: its path, its query and its body, typed; and the answers to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from wherry import __version__
from wherry.api.http import BaseRequest, Response, StreamResponse
from wherry.engine import Engine, Filters, InvalidRequest

T = TypeVar("T")

Version = tuple[int, int]

CURRENT: Version = (1, 51)
"""The version of the Engine API that is spoken when a client names none."""
OLDEST: Version = (1, 24)

HEADERS = {
    "Api-Version": f"{CURRENT[0]}.{CURRENT[1]}",
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"wherry/{__version__} (linux)",
}
"""On every answer."""

MAX_BODY = 4 << 20
"""Bytes of a JSON body."""

_FALSE = frozenset({"", "0", "no", "false", "none"})


class Refused(Exception):
    """An answer that is not of the engine's making, such as 501 for what is not there yet."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Call:
    """A request on its way to a handler. `path` holds the named parts of the route."""

    __slots__ = ("engine", "http", "path", "version")

    def __init__(
        self, engine: Engine, http: BaseRequest, path: dict[str, str], version: Version
    ) -> None:
        self.engine = engine
        self.http = http
        self.path = path
        self.version = version

    def text(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.http.query.get(name, default)

    def texts(self, name: str) -> list[str]:
        """Every value of a query parameter."""
        return self.http.query.getall(name, [])

    def flag(self, name: str, default: bool = False) -> bool:
        """A query parameter as a truth value, read as Docker does: most words are true."""
        value = self.http.query.get(name)
        return default if value is None else value.strip().lower() not in _FALSE

    def number(self, name: str) -> int | None:
        """A query parameter as an integer, None if not given. Raises InvalidRequest."""
        value = self.http.query.get(name, "")
        if not value:
            return None
        try:
            return int(value)
        except ValueError:
            raise InvalidRequest(f"{name}={value[:80]!r} is not a number") from None

    def seconds(self, name: str) -> float | None:
        """A query parameter as a time in seconds, None if not given. Raises InvalidRequest."""
        value = self.http.query.get(name, "")
        if not value:
            return None
        try:
            return float(value)
        except ValueError:
            raise InvalidRequest(f"{name}={value[:80]!r} is not a time in seconds") from None

    def filters(self) -> Filters:
        """The `filters` parameter. Raises InvalidRequest."""
        return Filters.parse(self.text("filters"))

    def document(self, name: str, kind: type[T], default: T) -> T:
        """A query parameter that holds JSON. Raises InvalidRequest."""
        value = self.http.query.get(name, "")
        if not value:
            return default
        try:
            return msgspec.json.decode(value, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidRequest(f"{name}: {error}") from None

    async def body(self, limit: int = MAX_BODY) -> bytes:
        """The whole body, of at most `limit` bytes. Raises InvalidRequest."""
        chunks = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise InvalidRequest(f"the request is more than {limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    async def json(self, kind: type[T]) -> T:
        """The body as a `kind`; no body is an empty object. Raises InvalidRequest."""
        data = await self.body()
        try:
            return msgspec.json.decode(data or b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(f"the request is not as it should be: {error}") from None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        content = self.http.content
        while chunk := await content.readany():
            yield chunk


Handler = Callable[[Call], Awaitable[StreamResponse]]


def json_answer(document: Any, status: int = 200) -> Response:
    """A JSON document, typed or plain."""
    return Response(
        status=status, body=msgspec.json.encode(document), content_type="application/json"
    )


def empty_answer(status: int = 204) -> Response:
    """Nothing but a status."""
    return Response(status=status)


class JsonStream:
    """An answer of JSON documents one after the other, each sent as it is made."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._response = StreamResponse(headers=HEADERS)
        self._response.content_type = "application/json"

    async def open(self) -> "JsonStream":
        """Send the headers, which clients wait for."""
        await self._response.prepare(self._call.http)
        return self

    @property
    def opened(self) -> bool:
        """Whether the headers are out, and with them the status 200."""
        return self._response.prepared

    async def send(self, document: Any) -> None:
        """Send one document."""
        if not self._response.prepared:
            await self.open()
        await self._response.write(msgspec.json.encode(document) + b"\n")

    async def close(self) -> StreamResponse:
        """Nothing follows."""
        if not self._response.prepared:
            await self.open()
        await self._response.write_eof()
        return self._response
