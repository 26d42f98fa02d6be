"""Denied packets of a container, as the kernel tells them (nfnetlink_log).

A socket in the container's namespace receives the first bytes of each packet that its fence
refused; where they were sent is read from their headers, which the guest wrote.
"""

import errno
import os
import socket
import struct
from dataclasses import dataclass

from wherry.network.fence import LOG_GROUP, LOGGED_BYTES
from wherry.network.netfilter import attribute, attributes, message, messages

_NETLINK_NETFILTER = 12
_NFNL_SUBSYS_ULOG = 4
_PACKET, _CONFIG = 0, 1
_NLMSG_ERROR = 2
_NLM_F_REQUEST, _NLM_F_ACK = 0x1, 0x4
_CFG_CMD, _CFG_MODE, _CFG_QTHRESH = 1, 2, 5
_BIND, _COPY_PACKET = 1, 2
_PAYLOAD = 9
_BUFFER = 1 << 16
_MAX_PACKETS = 64

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
_WITH_PORTS = ("tcp", "udp", "sctp")


@dataclass(frozen=True, slots=True)
class DeniedPacket:
    """Where a container was not let go."""

    protocol: str
    """In lower case; its number if it has no name here."""
    address: str
    port: int
    """0 for what has no ports."""


class DeniedPackets:
    """Those of the namespace that the calling thread is in. Raises OSError."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        try:
            self._socket.bind((0, 0))
            self._configure(attribute(_CFG_CMD, bytes([_BIND])))
            mode = struct.pack("!IBx", LOGGED_BYTES, _COPY_PACKET)
            self._configure(attribute(_CFG_MODE, mode))
            self._configure(attribute(_CFG_QTHRESH, struct.pack("!I", 1)))
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when there is something for `read`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Tell no more; what was denied still is."""
        self._socket.close()

    def read(self) -> list[DeniedPacket]:
        """What was denied since, without waiting; not all of it where that was too much."""
        found = []
        for _ in range(_MAX_PACKETS):
            try:
                received = self._socket.recv(_BUFFER)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # some were lost
                    continue
                raise
            for kind, _, payload in messages(received):
                if kind == _NFNL_SUBSYS_ULOG << 8 | _PACKET:
                    packet = dict(attributes(payload[4:])).get(_PAYLOAD, b"")
                    if (denied := parse(packet)) is not None:
                        found.append(denied)
        return found

    def _configure(self, setting: bytes) -> None:
        header = struct.pack("!BBH", socket.AF_UNSPEC, 0, LOG_GROUP)
        kind = _NFNL_SUBSYS_ULOG << 8 | _CONFIG
        self._socket.send(message(kind, _NLM_F_REQUEST | _NLM_F_ACK, 1, header + setting))
        for answer, _, payload in messages(self._socket.recv(_BUFFER)):
            if answer == _NLMSG_ERROR and (code := -struct.unpack_from("i", payload)[0]):
                raise OSError(code, f"nfnetlink_log: {os.strerror(code)}")


def parse(packet: bytes) -> DeniedPacket | None:
    """Where a packet was sent, by its first bytes; None if they do not say."""
    if len(packet) < 20:
        return None
    if packet[0] >> 4 == 4:
        number, address, above = packet[9], packet[16:20], (packet[0] & 0xF) * 4
        if int.from_bytes(packet[6:8]) & 0x1FFF:  # a later fragment has no ports
            above = len(packet)
        family = socket.AF_INET
    elif packet[0] >> 4 == 6 and len(packet) >= 40:
        number, address, above, family = packet[6], packet[24:40], 40, socket.AF_INET6
    else:
        return None
    protocol = _PROTOCOLS.get(number, str(number))
    port = int.from_bytes(packet[above + 2 : above + 4]) if protocol in _WITH_PORTS else 0
    return DeniedPacket(protocol, socket.inet_ntop(family, address), port)
