"""What a server answered: read in bounds, closed in time."""

from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from typing import TypeVar

import msgspec

from wherry.registry.cancel import Cancel
from wherry.registry.connection import Connection
from wherry.registry.errors import InvalidAnswer, Unreachable
from wherry.registry.headers import Headers
from wherry.registry.url import Url

T = TypeVar("T")

_DRAINED = 64 << 10
"""Bytes of an unread body worth reading for the sake of the connection."""


class Answer:
    """Status, headers, and a body that is still to come. To be closed, and `with` does so."""

    def __init__(
        self,
        response: HTTPResponse,
        url: Url,
        cancel: Cancel,
        connection: Connection,
        give_back: Callable[[], None],
    ) -> None:
        """`give_back` takes the connection, if it can have another request."""
        self._response = response
        self._cancel = cancel
        self._connection: Connection | None = connection
        self._give_back = give_back
        self.url = url
        """Who answered, after redirects."""
        self.status = response.status
        self.headers = Headers(response.headers.items())

    @property
    def length(self) -> int | None:
        """The bytes of the body by its `Content-Length`, if it has a good one."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the body; fewer only at its end.

        Raises Unreachable when it ends before it is whole, Abandoned.
        """
        try:
            data = self._response.read(size)
            if len(data) == size:
                return data
            self._cancel.check()  # breaking a connection off looks like the end of an answer
            if not self._response.length:
                return data
            cause: Exception | None = None
        except (HTTPException, OSError, ValueError) as error:
            cause = error
        self._end()
        self._cancel.check()
        slow = isinstance(cause, TimeoutError)
        what = "sends next to nothing" if slow else "closed the connection"
        raise Unreachable(
            f"{self.url.authority} {what} in the middle of an answer", again=True
        ) from cause

    def body(self, limit: int, name: str) -> bytes:
        """The whole body, and closes. `name` says in errors what it is.

        Raises InvalidAnswer if it is more than `limit` bytes; what Answer.read raises.
        """
        with self:
            if (self.length or 0) > limit:
                raise InvalidAnswer(f"{name}: {self.length} bytes, more than the {limit} allowed")
            data = self.read(limit + 1)
            if len(data) > limit:
                raise InvalidAnswer(f"{name}: more than the {limit} bytes allowed")
            return data

    def document(self, kind: type[T], limit: int, name: str) -> T:
        """The body as JSON. Raises what `body` raises; InvalidAnswer if it is no such thing."""
        data = self.body(limit, name)
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidAnswer(f"{name} is not what it should be: {error}") from None

    def close(self) -> None:
        """Give the connection back if nothing is left to read from it, else close it."""
        response = self._response
        with suppress(HTTPException, OSError, ValueError):
            left = response.length  # None: nobody knows how long it may take
            if left is not None and left <= _DRAINED:
                response.read(_DRAINED)
            if response.isclosed() and not response.length and not response.will_close:
                self._let_go(self._give_back)
        self._end()

    def _end(self) -> None:
        if (connection := self._connection) is not None:
            self._let_go(connection.end)
        self._response.close()

    def _let_go(self, how: Callable[[], None]) -> None:
        if self._connection is not None:
            self._cancel.forget(self._connection)
            self._connection = None
            how()

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
