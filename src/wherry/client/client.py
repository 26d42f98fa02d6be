"""Requests to a daemon: each takes an idle connection or opens one, and starts wherryd if needed.

Paths carry no API version: a daemon answers these in its own newest one, so nothing needs to be
negotiated.
"""

from __future__ import annotations

from wherry.client import json
from wherry.client.connection import Connection, ConnectionLost, Response, open_socket
from wherry.client.errors import DaemonUnreachable, ProtocolError
from wherry.client.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from wherry.client.address import Address

    Query = Mapping[str, Any]

_UNRESERVED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/:@,")


def quote(text: str) -> str:
    """Percent-encodes what may not stand in a path or query (RFC 3986); `/` and `:` stay."""
    data = text.encode("utf-8", "surrogateescape")
    if _UNRESERVED.issuperset(data):
        return text
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in data)


def target_of(path: str, query: Query | None) -> str:
    """The request target. True becomes 1, lists repeat the name, dicts travel as JSON.

    False, None and empty values are left out: they are every parameter's default.
    """
    pairs: list[str] = []
    for name, value in (query or {}).items():
        values = value if isinstance(value, list) else [value]
        for item in values:
            if item is None or item is False or item == "" or item == {}:
                continue
            if isinstance(item, dict):
                text = json.encode(item)
            else:
                text = "1" if item is True else str(item)
            pairs.append(f"{name}={quote(text)}")
    return f"{quote(path)}?{'&'.join(pairs)}" if pairs else quote(path)


class Client:
    """The Engine API at one address. For one thread; another one takes a client of its own.

    `interrupts` is a descriptor that becomes readable with every signal (`signal.set_wakeup_fd`):
    with it no signal goes unnoticed while an answer is awaited.
    """

    def __init__(self, address: Address, interrupts: int | None = None) -> None:
        self.address = address
        self._interrupts = interrupts
        self._idle: list[Connection] = []
        self._host = "localhost" if address.path else f"{address.host}:{address.port}"

    def close(self) -> None:
        """Closes the connections that lie idle."""
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.stale:
                return connection
            connection.close()
        try:
            sock = open_socket(self.address)
        except OSError as error:
            if not self.address.autostart:
                raise self._unreachable(error) from error
            from wherry.client.autostart import start_daemon

            sock = start_daemon(self.address)
        return Connection(sock, self._host, self._idle.append, self._interrupts)

    def _unreachable(self, error: OSError) -> DaemonUnreachable:
        if isinstance(error, PermissionError):
            return DaemonUnreachable(f"no permission to use the engine at {self.address}")
        return DaemonUnreachable(
            f"no engine answers at {self.address} ({error.strerror or error}); is it running?"
        )

    def start(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        headers: tuple[str, ...] = (),
    ) -> Pending:
        """Sends a request and returns at once; the response is taken from what it returns.

        The body is bytes, an iterable of bytes (sent in chunks), or a value sent as JSON.
        """
        target = target_of(path, query)
        if body is None:
            payload: bytes | Iterable[bytes] = b""
        elif isinstance(body, dict):
            payload = json.encode(body).encode()
            headers = (*headers, "Content-Type: application/json")
        else:
            payload = body
        connection = self._connection()
        pending = Pending(self, connection, method)
        try:
            connection.send(method, target, payload, headers)
        except ConnectionLost as error:
            raise pending.lost(error) from error
        return pending

    def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        headers: tuple[str, ...] = (),
    ) -> Response:
        """Sends a request and waits for the head of the answer.

        Raises:
            DaemonError: the daemon refused (status 300 and above, 304 apart).
            DaemonUnreachable: nobody answers, or not any more.
            ProtocolError: what answers is no daemon.
        """
        try:
            return self.start(method, path, query, body, headers).response()
        except ConnectionLost:
            if method not in ("GET", "HEAD"):
                raise
        self.close()
        return self.start(method, path, query, body, headers).response()

    def get(self, path: str, query: Query | None = None) -> Any:
        """The JSON document at a path."""
        return self.request("GET", path, query).json()

    def post(self, path: str, query: Query | None = None, body: Any = None) -> Any:
        """The JSON document a POST answers with, None for an empty answer."""
        return self.request("POST", path, query, body).json()

    def delete(self, path: str, query: Query | None = None) -> Any:
        """The JSON document a DELETE answers with, None for an empty answer."""
        return self.request("DELETE", path, query).json()

    def hijack(self, path: str, query: Query | None = None, body: Any = None) -> Hijacking:
        """Asks to turn a connection into a `Stream`; `stream()` of the result waits for it."""
        headers = ("Connection: Upgrade", "Upgrade: tcp")
        return Hijacking(self.start("POST", path, query, body, headers))


class Pending:
    """A request that has been sent."""

    def __init__(self, client: Client, connection: Connection, method: str) -> None:
        self._client = client
        self.connection = connection
        self._method = method

    def response(self) -> Response:
        """Waits for the head; raises as `Client.request` does."""
        try:
            response = self.connection.response(self._method)
        except ConnectionLost as error:
            raise self.lost(error) from error
        if response.status >= 300 and response.status != 304:
            raise response.error()
        return response

    def lost(self, error: ConnectionLost) -> ConnectionLost:
        """The same with the reason, where the engine left one in its log."""
        self.connection.close()
        if self._client.address.autostart:
            from wherry.client.autostart import last_words

            return ConnectionLost(last_words(self._client.address) or str(error))
        return error


class Hijacking:
    """A request for an upgrade that has been sent."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending

    def stream(self) -> Stream:
        """Waits until the connection is a stream."""
        response = self._pending.response()
        if response.status not in (101, 200):
            raise ProtocolError(f"the engine does not attach (HTTP status {response.status})")
        return Stream(self._pending.connection, response)
