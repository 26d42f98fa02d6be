"""One container, as the helper serves it: its name server, its ports, its limits."""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_interface, ip_network

from wherry.egress import Denials, Egress
from wherry.network.dns import upstream
from wherry.network.dns.answers import Answers
from wherry.network.dns.detour import detoured_sockets
from wherry.network.dns.question import Question
from wherry.network.dns.server import NameServer
from wherry.network.errors import NetworkError
from wherry.network.forwarding.sockets import Sockets
from wherry.network.forwarding.tcp import Target, TcpForwarder
from wherry.network.forwarding.udp import Room, UdpForwarder
from wherry.network.links import Links
from wherry.network.model import Publication, Sandbox
from wherry.network.names import Names
from wherry.network.ports import Reservation

Tell = Callable[[str, str], None]
"""Called with a container's id and a line for its log."""


class Container:
    """A container that is attached. Raises NetworkError if its rules of egress are none."""

    def __init__(
        self,
        sandbox: Sandbox,
        pidfd: int,
        names: Names,
        links: Links,
        servers: Callable[[], list[str]],
        tell: Tell,
    ) -> None:
        self.sandbox = sandbox
        self.pidfd = pidfd
        self._links, self._servers, self._tell = links, servers, tell
        self._egress = _parse_egress(sandbox)
        self._denials = Denials()
        self._answers = Answers(sandbox, names, self._egress)
        self._name_server: NameServer | None = None
        self._tcp: list[tuple[TcpForwarder, socket.socket]] = []
        self._udp: list[UdpForwarder] = []
        self._published: set[Publication] = set()

    def update(self, sandbox: Sandbox) -> None:
        """What it is now; rules of egress stay. The caller keeps names and links."""
        self.sandbox = self._answers.sandbox = sandbox

    async def resolve(self) -> None:
        """Answer for names in its network from now on. Raises NetworkError."""
        if self._name_server is None:
            try:
                pair = await self._links.within(self.sandbox.id, detoured_sockets)
            except OSError as error:
                raise NetworkError(
                    f"no name server can be in container {self.sandbox.id[:12]}: {error.strerror}"
                ) from None
            self._name_server = NameServer(self._answers, pair, self._ask, self._allow, self.denied)
        for name, address in self.sandbox.hosts.items():
            await self._learn(name, (address,))  # they are in its hosts file: nobody is asked

    async def publish(
        self, reservation: Reservation, tcp: TcpForwarder, sockets: Sockets, room: Room
    ) -> None:
        """Serve those of its ports that it does not serve itself. Raises NetworkError, OSError."""
        for publication, bound in reservation.sockets.items():
            if publication in self._published:
                await self._links.withdraw(self.sandbox.id, publication)
            else:
                self._forward(publication, bound, tcp, sockets, room)
                self._published.add(publication)
            await self._links.publish(self.sandbox.id, publication)

    def denied(self, target: str) -> None:
        """It tried to reach what it may not."""
        if line := self._denials.tell(target, time.monotonic()):
            self._tell(self.sandbox.id, line)

    def denied_packet(self, address: str, port: int) -> None:
        """The same, seen by the kernel."""
        self.denied(self._egress.target(address, port) if self._egress is not None else address)

    def close(self) -> None:
        """Serve it no more. Its ports are its reservation's, its links the caller's."""
        asyncio.get_running_loop().remove_reader(self.pidfd)
        if self._name_server is not None:
            self._name_server.close()
        for forwarder, bound in self._tcp:
            forwarder.stop(bound)
        for carrier in self._udp:
            carrier.close()
        os.close(self.pidfd)

    def _forward(
        self,
        publication: Publication,
        bound: socket.socket,
        tcp: TcpForwarder,
        sockets: Sockets,
        room: Room,
    ) -> None:
        target = self._target(publication)
        if publication.protocol == "tcp":
            tcp.serve(bound, target)
            self._tcp.append((tcp, bound))
        else:
            self._udp.append(UdpForwarder(bound, target, sockets, room))

    def _target(self, publication: Publication) -> Target:
        """Where a published port leads: to IPv4 if there is such, as most guests listen there."""

        def target() -> tuple[str, int] | None:
            attachments = sorted(self.sandbox.attachments, key=lambda each: not each.default_route)
            addresses = [ip_interface(text).ip for each in attachments for text in each.addresses]
            addresses.sort(key=lambda address: address.version)
            return (str(addresses[0]), publication.container_port) if addresses else None

        return target

    async def _ask(self, question: Question) -> bytes | None:
        servers = self.sandbox.dns or self._servers()
        return await upstream.ask(question.wire, servers, self._socket)

    async def _socket(self, address: str, kind: socket.SocketKind) -> socket.socket:
        """A server that is in one of the container's networks is asked from there."""
        if not any(
            ip_address(address.partition("%")[0]) in ip_network(subnet.subnet)
            for attachment in self.sandbox.attachments
            for subnet in attachment.network.subnets
        ):
            return await upstream.host_socket(address, kind)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return await self._links.within(
            None, lambda: socket.socket(family, kind | socket.SOCK_NONBLOCK)
        )

    async def _allow(self, question: Question, addresses: tuple[str, ...]) -> None:
        """What an answer says may be reached, on the ports of the name's rules."""
        await self._learn(question.name, addresses)

    async def _learn(self, name: str, addresses: tuple[str, ...]) -> None:
        if self._egress is not None:
            # Not all of them: whoever owns a name may lead it to the container itself.
            allowed = self._egress.looked_up(name, addresses)
            for rule in self._egress.rules_of(name):
                for address in allowed:
                    await self._links.egress_allow(self.sandbox.id, address, rule.first, rule.last)


def _parse_egress(sandbox: Sandbox) -> Egress | None:
    try:
        return None if sandbox.egress is None else Egress.parse(sandbox.egress)
    except ValueError as error:
        raise NetworkError(str(error)) from None
