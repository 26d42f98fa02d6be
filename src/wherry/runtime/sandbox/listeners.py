"""Listening sockets that a container's process has before its guest runs.

Those of its own network are made here. Those of the host's published ports are bound by whoever
publishes them, and fetched: then a connection to the host reaches the guest with nothing between.

A fetch is a conversation over a SOCK_SEQPACKET socket. The container's process says the container's
id; the answer is packets of JSON, each a list of `Published` with as many descriptors, and an empty
packet or the end of the connection at last.
"""

import array
import errno
import os
import socket
import struct
import time
from collections.abc import Iterable

import msgspec

from wherry.runtime.exits import LaunchError

_PATIENCE = 10.0
"""Seconds for all of a fetch: who answers has the sockets ready."""
_MAX_PACKET = 64 << 10
_MAX_DESCRIPTORS = 64
"""In one packet."""
_MAX_LISTENERS = 1024
_BACKLOG = 4096
"""Connections that may wait; the kernel takes no more than net.core.somaxconn."""


class Published(msgspec.Struct):
    """A host's port that is a container's: `address` and `host_port` are where it is bound."""

    port: int
    address: str
    host_port: int


_decoder = msgspec.json.Decoder(list[Published])


def listen(ports: Iterable[int]) -> dict[int, socket.socket]:
    """Listen on TCP `ports` of the network this process is in, of IPv6 and IPv4 alike.

    Raises LaunchError.
    """
    made: dict[int, socket.socket] = {}
    for port in ports:
        try:
            made[port] = _listen(port)
        except OSError as error:
            raise LaunchError(_why_not(port, error)) from None
    return made


def _listen(port: int) -> socket.socket:
    try:
        both = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        return _bound(both, ("::", port))
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
    return _bound(socket.socket(socket.AF_INET, socket.SOCK_STREAM), ("0.0.0.0", port))  # noqa: S104


def _bound(listener: socket.socket, address: tuple[str, int]) -> socket.socket:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _why_not(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use already in the container's network"
    return f"port {port} cannot be listened on: {error.strerror}"


def fetch(path: str, identifier: str) -> dict[int, list[socket.socket]]:
    """The sockets of the container's published ports, from whom `path` is of, by container port.

    They are bound and do not listen. Raises LaunchError.
    """
    try:
        with _connect(path) as giver:
            giver.send(identifier.encode())
            return _receive(giver, time.monotonic() + _PATIENCE)
    except TimeoutError:
        reason = f"nobody answers at {path} within {_PATIENCE:.0f} seconds"
    except OSError as error:
        reason = f"{path}: {error.strerror or error}"
    except (ValueError, msgspec.DecodeError) as error:
        reason = f"{path}: {error}"
    raise LaunchError(f"the published ports cannot be had: {reason}")


def _connect(path: str) -> socket.socket:
    giver = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        giver.settimeout(_PATIENCE)
        folder, name = os.path.split(path)
        # An address of a unix socket has room for 107 bytes, a path may be longer.
        door = os.open(folder or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            giver.connect(f"/proc/self/fd/{door}/{name}")
            _, owner, _ = struct.unpack(
                "3i", giver.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            )
            if owner != os.geteuid():
                raise ValueError("its owner is somebody else")
        finally:
            os.close(door)
    except BaseException:
        giver.close()
        raise
    return giver


def _receive(giver: socket.socket, deadline: float) -> dict[int, list[socket.socket]]:
    found: dict[int, list[socket.socket]] = {}
    mine: list[socket.socket] = []
    try:
        while True:
            giver.settimeout(max(deadline - time.monotonic(), 0.001))
            packet, ancillary, flags, _ = giver.recvmsg(
                _MAX_PACKET, socket.CMSG_SPACE(_MAX_DESCRIPTORS * 4), socket.MSG_CMSG_CLOEXEC
            )
            sockets = _sockets(ancillary)
            mine += sockets
            if not packet:
                return found
            publications = _decoder.decode(packet)
            cut = flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
            if cut or len(publications) != len(sockets) or len(mine) > _MAX_LISTENERS:
                raise ValueError("what came is not one socket for each port")
            for publication, listener in zip(publications, sockets, strict=True):
                _check(listener, publication)
                found.setdefault(publication.port, []).append(listener)
    except BaseException:
        for listener in mine:
            listener.close()
        raise


def _sockets(ancillary: list[tuple[int, int, bytes]]) -> list[socket.socket]:
    """What came beside a packet. Raises OSError, leaving nothing open, if not all are sockets."""
    received = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
    sockets: list[socket.socket] = []
    try:
        for descriptor in received:
            sockets.append(socket.socket(fileno=descriptor))
    except OSError:
        for descriptor in received:
            os.close(descriptor)
        for made in sockets:
            made.detach()
        raise
    return sockets


def _check(listener: socket.socket, publication: Published) -> None:
    """Raises ValueError unless it is a socket of TCP, bound as it is said to be."""
    internet = listener.family in (socket.AF_INET, socket.AF_INET6)
    if not internet or listener.type != socket.SOCK_STREAM or listener.proto != socket.IPPROTO_TCP:
        raise ValueError("what came for a port is no socket of TCP")
    if not 0 < publication.port < 65536 or listener.getsockname()[1] != publication.host_port:
        raise ValueError("what came for a port is bound to another one")
