"""One connection to a server: straight or through a proxy, broken off from any thread."""

import contextlib
import io
import select
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping, Sequence
from http.client import CONTINUE, HTTPConnection, HTTPException, HTTPResponse
from time import monotonic
from typing import Any

from wherry.registry.cancel import Cancel
from wherry.registry.errors import InvalidAnswer, Unreachable, one_line
from wherry.registry.lookup import Address, addresses
from wherry.registry.pace import SECONDS, Paced
from wherry.registry.proxies import Proxy
from wherry.registry.url import Url

_STORE_SECONDS = 600.0
"""How long a registry may take to put away what was sent: the larger blobs go to slow stores."""
_LEAST_SECONDS = 2.0
"""For each of the addresses of a host."""
_MAX_HEADS = 16
"""Informational answers (1xx) before the one that counts."""
_BLOCK = 256 << 10
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_UNKNOWN_AUTHORITY = frozenset({2, 7, 18, 19, 20, 21})
"""Of OpenSSL's X509_V_ERR: the issuer is not known or has another key, or there is none."""
_EXPIRED = 10
_CUT = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class NotTls(Unreachable):
    """Somebody is there, but does not speak TLS."""


class UnknownAuthority(Unreachable):
    """The server's certificate is signed by somebody who is not trusted."""


class _Response(HTTPResponse):
    """An answer that ends: it has to come at some pace, to begin, and its chunks have a size.

    `http.client` takes -1 for one, which means to a file all that ever comes: no bound of a
    reader's would hold.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._heads = 0
        self.fp = io.BufferedReader(Paced(self.fp.detach()))

    def _read_status(self) -> tuple[str, int, str]:
        self._heads += 1
        if self._heads > _MAX_HEADS:
            raise HTTPException("it goes on announcing an answer")
        version, status, reason = super()._read_status()  # type: ignore[misc]
        if 101 < status < 200:  # of which `http.client` knows the first one only
            status = CONTINUE
        return version, status, reason

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            raise ValueError("a chunk of negative size")
        return size


class Connection(HTTPConnection):
    """Takes one request after the other; the first one connects.

    `http.client` closes it by itself where an answer lasts as long as its connection, and reads on.
    So `break_off` has a handle of its own, which `end` closes.
    """

    response_class = _Response

    def __init__(
        self,
        url: Url,
        context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        proxy_context: ssl.SSLContext | None = None,
    ) -> None:
        """To the server of `url`; a context is for TLS with it, or with the proxy before it."""
        where = proxy or url
        super().__init__(where.host, where.port, blocksize=_BLOCK)
        self.fresh = True
        """Whether it was made for the request that is under way."""
        self._url = url
        self._context = context
        self._proxy = proxy
        self._proxy_context = proxy_context
        self._cancel = Cancel()
        self._seconds = 0.0
        self._handle: socket.socket | None = None
        self._handle_lock = threading.Lock()
        if proxy is not None and context is not None:
            self.set_tunnel(url.host, url.port, dict(proxy.headers))

    @property
    def is_stale(self) -> bool:
        """Whether the server has closed it, or spoken out of turn, while nobody asked anything."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def ask(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        cancel: Cancel,
        connect_seconds: float,
    ) -> HTTPResponse:
        """Send a request; `url` is one of its server.

        Raises Unreachable where it cannot be connected, Abandoned, what `body` raises; OSError,
        HTTPException and ValueError, which `explained` explains.
        """
        self._cancel, self._seconds = cancel, connect_seconds
        self.fresh = self.sock is None
        if not self.fresh:
            self.sock.settimeout(SECONDS)
        forwarded = self._proxy is not None and self._context is None
        target = str(url) if forwarded else url.target
        self.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        own = {"Host": url.authority, "Accept-Encoding": "identity"}
        if isinstance(body, bytes) or (body is None and method in _WITH_BODY):
            own["Content-Length"] = str(len(body or b""))
        if self._proxy is not None and forwarded:
            own.update(self._proxy.headers)
        for name, value in {**own, **headers}.items():
            self.putheader(name, value)
        # Who does not want the rest of a body has answered, and closes: the answer says why.
        with contextlib.suppress(*_CUT):
            if body is None or isinstance(body, bytes):
                self.endheaders(body)
            else:
                self.endheaders()
                for piece in body:
                    self.send(piece)
                self.sock.settimeout(_STORE_SECONDS)
        return self.getresponse()

    def connect(self) -> None:
        """For the first request. Raises Unreachable, Abandoned."""
        where = self._proxy or self._url
        deadline = monotonic() + self._seconds
        try:
            places = addresses(where.host, where.port, self._seconds, self._cancel)
        except (OSError, UnicodeError) as error:
            raise self._not_found(error) from None
        try:
            self.sock = self._reach(places, deadline)
            if self._proxy_context is not None:
                self.sock = _secured(self.sock, self._proxy_context, where.host)
            if self._proxy is not None and self._context is not None:
                self._tunnel()  # type: ignore[attr-defined]
        except (OSError, HTTPException, ValueError) as error:
            self._cancel.check()
            raise self._unreached(error) from None
        if self._context is not None:
            try:
                self.sock = _secured(self.sock, self._context, self._url.host)
            except OSError as error:
                self._cancel.check()
                raise self._not_secured(error) from None
        self.sock.settimeout(SECONDS)

    def break_off(self) -> None:
        """Have who waits for it fail now; from any thread. Never raises."""
        with self._handle_lock, contextlib.suppress(OSError):
            if self._handle is not None:
                self._handle.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Close it, with whatever answer still comes."""
        self.close()
        self._release_handle()

    def _reach(self, places: Sequence[Address], deadline: float) -> socket.socket:
        """A socket that is connected to the first of `places` that answers. Raises OSError."""
        failure = OSError(0, "it has no address")
        for number, (family, kind, protocol, _, address) in enumerate(places):
            sock = socket.socket(family, kind, protocol)
            # TLS takes the socket over from the object that is made here. This handle is the same
            # connection whatever becomes of that, so that whoever waits for it can be woken.
            with self._handle_lock:
                self._handle = sock.dup()
            try:
                self._cancel.check()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # All of them together get the time, as in Go: many may be out of reach.
                share = (deadline - monotonic()) / (len(places) - number)
                sock.settimeout(max(share, min(self._seconds, _LEAST_SECONDS)))
                sock.connect(address)
                sock.settimeout(self._seconds)
                return sock
            except OSError as error:
                failure = error
                sock.close()
                self._release_handle()
                self._cancel.check()
        raise failure

    def _release_handle(self) -> None:
        with self._handle_lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    def _not_found(self, error: Exception) -> Unreachable:
        where = self._proxy or self._url
        no_word = getattr(error, "errno", None) == socket.EAI_AGAIN  # in its own time
        if no_word or isinstance(error, TimeoutError):
            return Unreachable(f"no resolver says where {where.host} is: check the network")
        return Unreachable(f"there is no host {where.host}: check the name, or the resolver")

    def _unreached(self, error: Exception) -> Unreachable:
        host = self._url.authority
        if self._proxy is not None:
            return Unreachable(f"cannot reach {host} through its proxy: {_reason(error)}")
        if isinstance(error, TimeoutError):
            return Unreachable(f"nobody answers at {host}", again=True)
        return Unreachable(f"cannot connect to {host}: {_reason(error)}")

    def _not_secured(self, error: OSError) -> Unreachable:
        host = self._url.authority
        if isinstance(error, ssl.SSLCertVerificationError):
            if error.verify_code in _UNKNOWN_AUTHORITY:
                return UnknownAuthority(f"the certificate of {host} is signed by nobody known here")
            if error.verify_code == _EXPIRED:
                return Unreachable(f"the certificate of {host} has expired")
            return Unreachable(f"the certificate of {host} is not good: {error.verify_message}")
        if isinstance(error, TimeoutError):
            return Unreachable(f"nobody answers at {host}", again=True)
        if self._proxy is not None:
            return _tls_failed(error, host)
        return NotTls(f"{host} does not speak TLS: if it speaks plain HTTP, write http:// for it")


def is_cut(error: BaseException) -> bool:
    """Whether the connection was closed, without anything that makes no sense before."""
    other = isinstance(error, TimeoutError | ssl.SSLError) and not isinstance(error, _CUT)
    return isinstance(error, OSError) and not other


def explained(error: Exception, url: Url) -> Unreachable | InvalidAnswer:
    """What went wrong on a connection that was there, in words for people."""
    host = url.authority
    if isinstance(error, TimeoutError):
        return Unreachable(f"{host} says nothing any more", again=True)
    if is_cut(error):
        return Unreachable(f"{host} closed the connection", again=True)
    if isinstance(error, ssl.SSLError):
        return _tls_failed(error, host)
    return InvalidAnswer(f"{host} does not answer in HTTP: {one_line(str(error))}")


def _tls_failed(error: OSError, host: str) -> Unreachable:
    return Unreachable(f"TLS with {host} failed: {_reason(error)}", again=True)


def _reason(error: Exception) -> str:
    said = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return one_line(str(said)).replace("_", " ").lower()


def _secured(sock: Any, context: ssl.SSLContext, host: str) -> Any:
    """TLS over a connection, which may be one of TLS to a proxy. Raises OSError."""
    certified = host.partition("%")[0].rstrip(".")  # no certificate has a zone, or the root's dot
    if isinstance(sock, ssl.SSLSocket):
        from wherry.registry.nested_tls import NestedTls

        return NestedTls(sock, context, certified)
    return context.wrap_socket(sock, server_hostname=certified)
