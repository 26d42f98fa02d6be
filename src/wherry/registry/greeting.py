"""Whether a server on this very machine speaks TLS: asked before the authorities are read.

Registries on loopback mostly speak plain HTTP, and reading all authorities of the system to find
that out takes longer than a small pull.
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator

from wherry.registry.cancel import Cancel
from wherry.registry.lookup import addresses

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
"""OpenSSL's words for an answer that is no TLS at all."""


def is_plain(host: str, port: int, seconds: float, cancel: Cancel) -> bool:
    """Whether the server answers a greeting in TLS by something else.

    Nothing is verified and nothing said. False where nobody answers as well: the request that was
    to be sent then tells what is wrong. Raises Abandoned.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        for family, kind, protocol, _, address in addresses(host, port, seconds, cancel):
            connection = socket.socket(family, kind, protocol)
            with connection, _breakable(connection, cancel):
                connection.settimeout(seconds)
                if connection.connect_ex(address) == 0:
                    context.wrap_socket(connection, server_hostname=host).close()
                    break
                cancel.check()
    except ssl.SSLError as error:
        cancel.check()
        return error.reason in _NO_TLS
    except OSError:
        cancel.check()
    return False


class _Handle:
    """A second handle of a connection, which TLS takes over: to break it off from elsewhere."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection.dup()

    def break_off(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def _breakable(connection: socket.socket, cancel: Cancel) -> Iterator[None]:
    handle = _Handle(connection)
    cancel.watch(handle)
    try:
        cancel.check()
        yield
    finally:
        cancel.forget(handle)
        handle.close()
