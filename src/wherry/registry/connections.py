"""Requests to any server, over connections that are kept for later ones.

HTTP/1.1 itself is `http.client`'s. Redirects, further tries and authorisation are `exchange.py`'s,
because they depend on whose credentials may go where.
"""

import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http.client import HTTPException

import msgspec

from wherry.registry.answer import Answer
from wherry.registry.cancel import Cancel
from wherry.registry.connection import Connection, explained, is_cut
from wherry.registry.proxies import Proxy, proxy_for
from wherry.registry.trust import Trust
from wherry.registry.url import Url

_KEPT = 8
"""Idle connections a host: what one image's downloads use at once."""
_SERVERS = 32

Body = bytes | Callable[[], Iterable[bytes]] | None
"""What a request sends: bytes, or what gives them anew each time it is called."""

_Files = tuple[tuple[int, ...], ...]


class _Way(msgspec.Struct, frozen=True):
    """What requests have in common that may go over the same connections."""

    origin: tuple[str, str, int]
    trust: Trust | None
    """For TLS."""
    files: _Files
    """The state of the files of `trust`."""
    proxy: Proxy | None


class Connections:
    """Requests to any server. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[_Way, list[Connection]] = {}
        self._contexts: dict[Trust, tuple[_Files, ssl.SSLContext]] = {}

    def request(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        body: Body,
        trust: Trust,
        cancel: Cancel,
        connect_seconds: float,
    ) -> Answer:
        """Send one request. Raises RegistryError.

        Without a body of pieces it is sent again where a kept connection turns out to have been
        closed meanwhile.
        """
        proxy = proxy_for(url)
        files, context = self._context(trust) if url.scheme == "https" else ((), None)
        proxy_context = self._context(Trust())[1] if proxy and proxy.secure else None
        way = _Way(url.origin, trust if context else None, files, proxy)
        for kept in reversed(range(1 if callable(body) else _KEPT + 1)):
            cancel.check()
            connection = self._kept(way) or Connection(url, context, proxy, proxy_context)
            cancel.watch(connection)
            try:
                pieces = body() if callable(body) else body
                response = connection.ask(method, url, headers, pieces, cancel, connect_seconds)
            except BaseException as error:
                connection.end()
                cancel.forget(connection)
                cancel.check()
                if not isinstance(error, OSError | HTTPException | ValueError):
                    raise
                if kept and not connection.fresh and is_cut(error):
                    continue
                raise explained(error, url) from None
            return Answer(response, url, cancel, connection, partial(self._keep, way, connection))
        raise AssertionError("the last one is raised")

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            idle = [connection for each in self._idle.values() for connection in each]
            self._idle.clear()
        for connection in idle:
            connection.end()

    def _kept(self, way: _Way) -> Connection | None:
        with self._lock:
            idle = self._idle.get(way, [])
            while idle:
                connection = idle.pop()
                if not connection.is_stale:
                    return connection
                connection.end()
        return None

    def _keep(self, way: _Way, connection: Connection) -> None:
        """For another request: `connection` has done its own."""
        with self._lock:
            idle = self._idle.pop(way, [])
            idle.append(connection)
            self._idle[way] = idle  # the last used is the last to be given up
            given_up = [idle.pop(0)] if len(idle) > _KEPT else []
            if len(self._idle) > _SERVERS:
                given_up += self._idle.pop(next(iter(self._idle)))
        for each in given_up:
            each.end()

    def _context(self, trust: Trust) -> tuple[_Files, ssl.SSLContext]:
        """What certificates are checked by, read anew when a file of `trust` is another."""
        files = trust.files()
        with self._lock:
            known = self._contexts.get(trust)
            if known is not None and known[0] == files:
                return known
            made = self._contexts[trust] = files, trust.context()
            for way in [way for way in self._idle if way.trust == trust]:
                for connection in self._idle.pop(way):
                    connection.end()
            return made
