"""What a server answered: read in bounds, closed in time."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.response import BaseHTTPResponse

from wherry.registry.cancel import Breakable, Cancel
from wherry.registry.errors import InvalidAnswer, Unreachable
from wherry.registry.url import Url

T = TypeVar("T")

_DRAINED = 64 << 10
"""Bytes of an unread body worth reading for the sake of the connection."""


class Answer:
    """Status, headers, and a body that is still to come. To be closed, and `with` does so."""

    def __init__(
        self, response: BaseHTTPResponse, url: Url, cancel: Cancel, connection: Breakable
    ) -> None:
        self._response = response
        self._cancel = cancel
        self._connection = connection
        self.url = url
        """Who answered, after redirects."""
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        """By name in any case."""

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
            return self._response.read(size, decode_content=False)
        except (HTTPError, OSError, ValueError) as error:
            self.close()
            self._cancel.check()
            slow = isinstance(error, ReadTimeoutError)
            what = "sends next to nothing" if slow else "closed the connection"
            raise Unreachable(
                f"{self.url.authority} {what} in the middle of an answer", again=True
            ) from error

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
        try:
            left = self._response.length_remaining  # None: nobody knows how long it may take
            if left is not None and left <= _DRAINED:
                self._response.read(_DRAINED, decode_content=False)
        except (HTTPError, OSError, ValueError):
            pass
        finally:
            self._cancel.forget(self._connection)
            self._response.close()

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
