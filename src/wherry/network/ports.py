"""Ports of the host that are bound for containers."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from wherry.network.errors import NetworkError, PortInUse, host_address
from wherry.network.model import Publication

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_ATTEMPTS = 16
"""How often a free port of one family may turn out to be taken in the other."""

_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@dataclass
class Reservation:
    """The ports of one container."""

    publications: list[Publication] = field(default_factory=list)
    sockets: dict[Publication, socket.socket] = field(default_factory=dict)
    """Bound. Those that the container has got itself are not here any more."""
    taken: bool = False
    """What is left is served by this process, and given to the container no more."""

    def close(self) -> None:
        """Free those that are bound here; what the container has got it keeps."""
        for each in self.sockets.values():
            each.close()
        self.sockets.clear()


class Ports:
    """All ports that are bound for containers, in the network that this process is in."""

    def __init__(self) -> None:
        self._reservations: dict[str, Reservation] = {}
        # By protocol and number: who has it at which address.
        self._holders: dict[tuple[str, int], list[tuple[str, Publication]]] = {}

    def __len__(self) -> int:
        return len(self._reservations)

    def get(self, id: str) -> Reservation | None:
        """What a container has."""
        return self._reservations.get(id)

    def reserve(
        self, id: str, asked: Sequence[Publication], *, handed: bool = False
    ) -> Reservation:
        """Bind what is asked for, all or nothing, instead of what the container had.

        If it has got its listening sockets already (`handed`), they are only remembered. Raises
        PortInUse (by `id` itself where two of them collide), NetworkError.
        """
        self.release(id)
        reservation = self._reservations[id] = Reservation()
        try:
            for publication in asked:
                if handed and publication.protocol == "tcp":
                    self._hold(id, reservation, publication)
                    continue
                for bound, made in self._bind(publication):
                    reservation.sockets[bound] = made
                    self._hold(id, reservation, bound)
        except BaseException:
            self.release(id)
            raise
        return reservation

    def release(self, id: str) -> None:
        """Free what a container has; it need not be known."""
        if (reservation := self._reservations.pop(id, None)) is None:
            return
        for publication in reservation.publications:
            place = (publication.protocol, publication.host_port)
            left = [each for each in self._holders.pop(place, ()) if each != (id, publication)]
            if left:
                self._holders[place] = left
        reservation.close()

    def holder(self, wanted: Publication) -> str | None:
        """The container that has the port, or one that stands in its way."""
        for id, has in self._holders.get((wanted.protocol, wanted.host_port), ()):
            if _collide(wanted, has):
                return id
        return None

    def _hold(self, id: str, reservation: Reservation, publication: Publication) -> None:
        reservation.publications.append(publication)
        place = (publication.protocol, publication.host_port)
        self._holders.setdefault(place, []).append((id, publication))

    def _bind(self, asked: Publication) -> list[tuple[Publication, socket.socket]]:
        """Raises PortInUse, NetworkError."""
        if asked.protocol not in _KINDS:
            raise NetworkError(f"port {asked.container_port}/{asked.protocol}: only tcp and udp")
        if not 0 < asked.container_port < 1 << 16 or not 0 <= asked.host_port < 1 << 16:
            raise NetworkError(f"ports go from 1 to 65535: {host_address(asked)}")
        both = not asked.host_ip and _has_ipv6()
        hosts = ["0.0.0.0", "::"] if both else [asked.host_ip or "0.0.0.0"]  # noqa: S104
        for attempt in range(_ATTEMPTS):
            bound: list[tuple[Publication, socket.socket]] = []
            port = asked.host_port
            try:
                for host in hosts:
                    wanted = msgspec.structs.replace(asked, host_ip=host, host_port=port)
                    made = self._bind_one(wanted)
                    port = made.getsockname()[1]
                    bound.append((msgspec.structs.replace(wanted, host_port=port), made))
                return bound
            except BaseException as error:
                for _, made in bound:
                    made.close()
                again = isinstance(error, PortInUse) and asked.host_port == 0
                if not again or attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _bind_one(self, wanted: Publication) -> socket.socket:
        # Two sockets of which neither listens yet may have one port, if both may reuse it: so those
        # of our own are compared here.
        if wanted.host_port and (holder := self.holder(wanted)) is not None:
            raise PortInUse(wanted, holder)
        family = socket.AF_INET6 if ":" in wanted.host_ip else socket.AF_INET
        made = socket.socket(family, _KINDS[wanted.protocol])
        try:
            made.setblocking(False)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _bind(made, wanted)
        except OSError as error:
            made.close()
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(wanted, None) from None
            raise NetworkError(_explain(wanted, error)) from None
        return made


def _bind(made: socket.socket, wanted: Publication) -> None:
    """Bind, also where nothing but ended connections are left. Raises OSError."""
    address = (wanted.host_ip, wanted.host_port)
    if wanted.protocol != "tcp":
        made.bind(address)
        return
    try:
        # First without leave to reuse, so that nobody who has it gets the port as well.
        made.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    # Connections that end at this side inherit it, and must not keep the port from the next one.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _collide(one: Publication, other: Publication) -> bool:
    """Whether two of one protocol and number cannot both be."""
    if (":" in one.host_ip) != (":" in other.host_ip):
        return False
    wild = ("0.0.0.0", "::")  # noqa: S104
    return one.host_ip == other.host_ip or one.host_ip in wild or other.host_ip in wild


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _explain(wanted: Publication, error: OSError) -> str:
    where = f"port {host_address(wanted)}/{wanted.protocol} of the host cannot be published"
    if error.errno == errno.EACCES:
        try:
            first = int(_UNPRIVILEGED.read_text())
        except (OSError, ValueError):
            first = 1024
        return (
            f"{where}: ports below {first} are for root; choose another one, or allow it with "
            f"'sudo sysctl net.ipv4.ip_unprivileged_port_start={wanted.host_port}'"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: {wanted.host_ip} is no address of this host"
    return f"{where}: {error.strerror}"
