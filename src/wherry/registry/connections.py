"""Connections to servers: kept for later requests, broken off when asked to, through proxies.

What urllib3 does here: HTTP/1.1, TLS, tunnels through proxies, pools. Redirects, further tries and
authorisation are `exchange.py`'s, because they depend on whose credentials may go where.
"""

import contextlib
import errno
import io
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from http.client import CONTINUE, HTTPException, HTTPResponse, RemoteDisconnected
from time import monotonic
from typing import Any, ClassVar

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from wherry.registry.answer import Answer
from wherry.registry.cancel import Cancel
from wherry.registry.errors import InvalidAnswer, RegistryError, Unreachable, one_line
from wherry.registry.lookup import addresses
from wherry.registry.pace import SECONDS, Paced
from wherry.registry.proxies import proxy_for
from wherry.registry.trust import Trust
from wherry.registry.url import Url

_KEPT = 8
"""Idle connections a host: what one image's downloads use at once."""
_SERVERS = 32
_STORE_SECONDS = 600.0
"""How long a registry may take to put away what was sent: the larger blobs go to slow stores."""
_LEAST_SECONDS = 2.0
"""For each of the addresses of a host."""
_MAX_HEADS = 16
"""Informational answers (1xx) before the one that counts."""
_UNKNOWN_AUTHORITY = frozenset({2, 7, 18, 19, 20, 21})
"""Of OpenSSL's X509_V_ERR: the issuer is not known or has another key, or there is none."""
_EXPIRED = 10

urllib3.disable_warnings(exceptions.InsecureRequestWarning)  # whoever skips it has configured so
logging.getLogger("urllib3").setLevel(logging.ERROR)  # what it warns of comes up as an error here

Body = bytes | Callable[[], Iterable[bytes]] | None
"""What a request sends: bytes, or what gives them anew each time it is called."""


_Kind = tuple[Trust | None, tuple[tuple[int, ...], ...], str | None]
"""What connections share a pool: for TLS the trust and the state of its files, and the proxy."""


class NotTls(Unreachable):
    """Somebody is there, but does not speak TLS."""


class _HandshakeFailed(ssl.SSLError):
    """The connection was made, and ended before TLS was agreed upon."""


class _Work(threading.local):
    """What this thread is doing: by what it may be ended, and on which connection it is."""

    cancel: Cancel
    connection: "_Breakable | None" = None
    connected: bool = False
    """Whether the connection was made for it, and not kept from an earlier request."""


_work = _Work()


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


class _Breakable(HTTPConnection):
    """A connection that can be broken off from another thread."""

    response_class = _Response
    _handle: socket.socket | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._handle_lock = threading.Lock()

    def break_off(self) -> None:
        with self._handle_lock, contextlib.suppress(OSError):
            if self._handle is not None:
                self._handle.shutdown(socket.SHUT_RDWR)

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(SECONDS)  # the time to connect is none to send a piece in

    def request(self, *arguments: Any, **options: Any) -> None:
        self._take()
        if self.sock is not None:
            self.sock.settimeout(SECONDS)
        super().request(*arguments, **options)

    def close(self) -> None:
        super().close()
        self._release_handle()

    def _take(self) -> None:
        if _work.connection is not self:
            _work.connection = self
            _work.cancel.watch(self)

    def _release_handle(self) -> None:
        with self._handle_lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    def _new_conn(self) -> socket.socket:
        self._take()
        _work.connected = True
        host, seconds = self._dns_host.strip("[]"), self.timeout or 0.0
        deadline = monotonic() + seconds
        try:
            places = addresses(host, self.port, seconds, _work.cancel)
        except (OSError, UnicodeError) as error:
            gone = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
            raise exceptions.NameResolutionError(host, self, gone) from error
        failure: OSError = OSError(errno.EADDRNOTAVAIL, "it has no address")
        for number, (family, kind, protocol, _, address) in enumerate(places):
            sock = socket.socket(family, kind, protocol)
            # TLS takes the socket over from the object that is made here. This handle is the same
            # connection whatever becomes of that, so that whoever waits for it can be woken.
            with self._handle_lock:
                self._handle = sock.dup()
            try:
                _work.cancel.check()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # All of them together get the time, as in Go: many may be out of reach.
                share = (deadline - monotonic()) / (len(places) - number)
                sock.settimeout(max(share, min(seconds, _LEAST_SECONDS)))
                sock.connect(address)
                sock.settimeout(seconds)
                return sock
            except OSError as error:
                failure = error
                sock.close()
                self._release_handle()
                _work.cancel.check()
        if isinstance(failure, TimeoutError):
            raise exceptions.ConnectTimeoutError(self, "nobody answers") from failure
        raise exceptions.NewConnectionError(self, failure.strerror or str(failure)) from failure


class _Plain(_Breakable):
    pass


class _Tls(_Breakable, HTTPSConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except ssl.SSLCertVerificationError:
            raise
        except (ssl.SSLError, ConnectionError) as error:
            if self._handle is None or self.proxy:
                raise
            raise _HandshakeFailed(*error.args) from error


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class Connections:
    """Requests to any server. Thread-safe."""

    _POOLS: ClassVar = {"http": _PlainPool, "https": _TlsPool}

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._managers: dict[_Kind, urllib3.PoolManager] = {}

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
        silence = _STORE_SECONDS if callable(body) else SECONDS
        timeout = urllib3.Timeout(connect=connect_seconds, read=silence)
        proxy = proxy_for(url)
        manager = self._manager(trust if url.scheme == "https" else None, proxy)
        pool = manager.connection_from_host(url.host, url.port, url.scheme)
        target = str(url) if proxy and url.scheme == "http" else url.target
        _work.cancel = cancel
        for kept in reversed(range(1 if callable(body) else _KEPT + 1)):
            cancel.check()
            _work.connection, _work.connected = None, False
            try:
                response = pool.urlopen(
                    method,
                    target,
                    body=body() if callable(body) else body,
                    headers={**headers, "Accept-Encoding": "identity"},
                    retries=False,
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=timeout,
                )
            except BaseException as error:
                if _work.connection is not None:
                    cancel.forget(_work.connection)
                cancel.check()
                if not isinstance(
                    error, exceptions.HTTPError | OSError | HTTPException | ValueError
                ):
                    raise
                if kept and not _work.connected and _is_cut(error):
                    continue
                raise explained(error, url) from None
            connection = _work.connection
            assert connection is not None
            return Answer(response, url, cancel, connection)
        raise AssertionError("the last one is raised")

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()
            self._managers.clear()

    def _manager(self, trust: Trust | None, proxy: str | None) -> urllib3.PoolManager:
        kind = trust, trust.files() if trust else (), proxy
        with self._lock:
            if kind not in self._managers:
                # Of certificates that were replaced meanwhile, nothing is kept.
                old = {k for k in self._managers if (k[0], k[2]) == (trust, proxy)}
                self._managers = {k: m for k, m in self._managers.items() if k not in old}
                self._managers[kind] = self._new_manager(trust, proxy)
            return self._managers[kind]

    def _new_manager(self, trust: Trust | None, proxy: str | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "num_pools": _SERVERS,
            "maxsize": _KEPT,
            "blocksize": 256 << 10,
            "ssl_context": trust.context() if trust else None,
        }
        manager = urllib3.PoolManager(**options) if proxy is None else _proxied(proxy, options)
        manager.pool_classes_by_scheme = self._POOLS
        return manager


def _proxied(proxy: str, options: dict[str, Any]) -> urllib3.ProxyManager:
    try:
        address = urllib3.util.parse_url(proxy)
        if not address.host:
            raise ValueError("no host")
        login = urllib3.make_headers(proxy_basic_auth=address.auth) if address.auth else None
        return urllib3.ProxyManager(proxy, proxy_headers=login, **options)
    except (exceptions.HTTPError, ValueError, AssertionError):
        shown = one_line(proxy.rpartition("@")[2])
        raise RegistryError(
            f"HTTPS_PROXY or HTTP_PROXY names {shown!r}: only http:// and https:// are understood"
        ) from None


def explained(error: Exception, url: Url) -> RegistryError:
    """What went wrong with a request, in words for people."""
    host = url.authority
    cause = error.args[-1] if error.args else None
    match error:
        case exceptions.NameResolutionError() if isinstance(error.__cause__, TimeoutError):
            return Unreachable(f"no resolver says where {url.host} is: check the network")
        case exceptions.NameResolutionError():
            return Unreachable(f"there is no host {url.host}: check the name, or the resolver")
        case exceptions.NewConnectionError():
            said = str(cause).rpartition(": ")[2].lower()
            return Unreachable(f"cannot connect to {host}: {one_line(said)}")
        case exceptions.ConnectTimeoutError():
            return Unreachable(f"nobody answers at {host}", again=True)
        case exceptions.ProxyError():
            said = str(cause).rpartition(": ")[2].lower()
            return Unreachable(f"cannot reach {host} through its proxy: {one_line(said)}")
        case exceptions.SSLError():
            return _tls_error(cause, host)
        case exceptions.TimeoutError() | TimeoutError():
            return Unreachable(f"{host} says nothing any more", again=True)
        case exceptions.ProtocolError() if _is_cut(error):
            return Unreachable(f"{host} closed the connection", again=True)
        case exceptions.ProtocolError() | HTTPException():
            return InvalidAnswer(f"{host} does not answer in HTTP: {one_line(str(cause))}")
        case OSError():
            return Unreachable(f"{host}: {error.strerror or error}", again=True)
    return InvalidAnswer(f"{host} does not answer in HTTP: {one_line(str(error))}")


def _is_cut(error: BaseException) -> bool:
    """Whether the connection was closed, without anything that makes no sense before."""
    cause = error.args[-1] if error.args else None
    garbage = isinstance(cause, HTTPException) and not isinstance(cause, RemoteDisconnected)
    return isinstance(error, exceptions.ProtocolError) and not garbage


def _tls_error(cause: object, host: str) -> Unreachable:
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _UNKNOWN_AUTHORITY:
            return UnknownAuthority(f"the certificate of {host} is signed by nobody known here")
        if cause.verify_code == _EXPIRED:
            return Unreachable(f"the certificate of {host} has expired")
        return Unreachable(f"the certificate of {host} is not good: {cause.verify_message}")
    if isinstance(cause, _HandshakeFailed):
        return NotTls(f"{host} does not speak TLS: if it speaks plain HTTP, write http:// for it")
    return Unreachable(f"TLS with {host} failed: {_reason(cause)}", again=True)


def _reason(cause: object) -> str:
    said = getattr(cause, "reason", None) or getattr(cause, "strerror", None) or str(cause)
    return one_line(str(said)).replace("_", " ").lower()


class UnknownAuthority(Unreachable):
    """The server's certificate is signed by somebody who is not trusted."""
