"""The kernel's side of networks: bridges, interfaces, addresses, rules.

Everything may be done again at any time, by this process or by the next one: what is there already
stays, what is missing is made, what is too much is taken away. All of it is done in order by one
thread (`Traveller`), a few milliseconds each.
"""

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from wherry.egress import Egress
from wherry.network import endpoints, namespaces
from wherry.network.bridges import Bridges
from wherry.network.denials import DeniedPacket, DeniedPackets
from wherry.network.errors import NetworkError
from wherry.network.fence import Fence
from wherry.network.firewall import Firewall, Forwarding, forwardings_of
from wherry.network.home import Home
from wherry.network.model import Attachment, Publication, Sandbox
from wherry.network.namespaces import Traveller
from wherry.network.netfilter import Netfilter
from wherry.pids import process_start

_log = logging.getLogger(__name__)

_MAX_ALLOWED = 8192
"""What names may have led a container to, in all its life."""

_T = TypeVar("_T")

OnDenied = Callable[[str, DeniedPacket], None]


@dataclass(slots=True)
class _Connected:
    """What this process holds of a container that is attached."""

    pid: int
    namespace: int
    sandbox: Sandbox
    fenced: bool = False
    allowed: set[tuple[str, int, int]] = field(default_factory=set)
    """What names led to: address and ports."""
    denials: DeniedPackets | None = None
    forwardings: dict[Publication, list[Forwarding]] = field(default_factory=dict)

    def close(self) -> None:
        if self.denials is not None:
            self.denials.close()
        os.close(self.namespace)


class Links:
    """The networks of one engine. `run` is its run folder.

    Everything raises NetworkError. Without root (`rootless`), which is to say as root of a user
    namespace whose network is the host's, bridges are in a namespace of their own.
    """

    def __init__(self, run: Path, *, rootless: bool, on_denied: OnDenied | None = None) -> None:
        self._home = Home(run, rootless=rootless)
        self._traveller = Traveller()
        self._on_denied = on_denied
        self._opened: asyncio.Task[None] | None = None
        self._connected: dict[str, _Connected] = {}
        self._links: IPRoute
        self._firewall: Firewall
        self._bridges: Bridges

    @property
    def warning(self) -> str:
        """One line for people about what does not work here, empty if all does."""
        return self._home.warning

    @property
    def forwards(self) -> bool:
        """Whether `publish` has the kernel forward ports: not without root."""
        return not self._home.rootless

    async def within(self, id: str | None, work: Callable[[], _T]) -> _T:
        """What `work` returns, done in the namespace of an attached container, or of the bridges.

        For sockets, which stay there: it must not take long. Raises KeyError, NetworkError, and
        what `work` raises.
        """
        await self._open()
        if id is None:
            return await self._traveller.run(work)
        return await self._traveller.run(self._visiting, self._connected[id].namespace, work)

    async def attach(self, sandbox: Sandbox) -> None:
        """Have a container's interfaces, addresses, routes and limits be what `sandbox` says."""
        await self._open()
        known = self._connected.get(sandbox.id)
        if known is not None and known.pid != sandbox.pid:
            await self.detach(sandbox.id)
        await self._do(self._attach, sandbox)
        self._listen(sandbox.id)

    async def detach(self, id: str) -> None:
        """Take interfaces and ports of a container away, not limits; it need not be attached."""
        connected = self._connected.pop(id, None)
        if connected is None:
            return
        if connected.denials is not None:
            asyncio.get_running_loop().remove_reader(connected.denials)
        await self._do(self._detach, connected)

    async def remove_network(self, id: str) -> None:
        """Remove a network's bridge with its rules; it need not be there."""
        await self._open()
        await self._do(self._remove_network, id)

    async def publish(self, id: str, publication: Publication) -> bool:
        """Have the kernel forward a port of the host to an attached container.

        For other than loopback addresses; False if it does not do that here. Ends with `withdraw`,
        with `detach`, or when the container's process has ended and another helper begins.
        """
        connected = self._connected[id]
        forwardings = forwardings_of(publication, connected.sandbox)
        if not forwardings or not self.forwards:
            return False
        await self._do(self._publish, connected, publication, forwardings)
        return True

    async def withdraw(self, id: str, publication: Publication) -> None:
        """Forward a port no more; it need not be forwarded."""
        connected = self._connected.get(id)
        if connected is not None:
            await self._do(self._withdraw, connected.forwardings.pop(publication, []))

    async def egress_allow(self, id: str, address: str, first: int, last: int) -> None:
        """Let a fenced container send to ports `first` to `last` of an address (TCP and UDP).

        As long as the container has limits; without them nothing happens.
        """
        connected = self._connected.get(id)
        wanted = (address, first, last)
        if connected is None or not connected.fenced or wanted in connected.allowed:
            return
        if len(connected.allowed) >= _MAX_ALLOWED:
            raise NetworkError(f"container {id[:12]} has looked up too many addresses: no more")
        connected.allowed.add(wanted)
        await self._do(self._allow, connected, *wanted)

    async def close(self, *, idle: bool) -> None:
        """Let go of everything, which stays as it is.

        When nothing is attached and nobody will come soon (`idle`), bridges and tables go, too.
        """
        loop = asyncio.get_running_loop()
        for connected in self._connected.values():
            if connected.denials is not None:
                loop.remove_reader(connected.denials)
            connected.close()
        self._connected.clear()
        if self._opened is not None:
            try:
                await self._opened
                if self._home.keeper >= 0:
                    loop.remove_reader(self._home.keeper)
                await self._do(self._close, idle)
            except NetworkError as error:
                _log.error("%s", error)
        self._traveller.close()

    # In the event loop

    async def _open(self) -> None:
        if self._opened is None or (self._opened.done() and self._opened.exception() is not None):
            self._opened = asyncio.create_task(self._do(self._settle))
            self._opened.add_done_callback(lambda _: self._watch_keeper())
        await asyncio.shield(self._opened)

    def _watch_keeper(self) -> None:
        keeper = self._home.keeper
        if keeper >= 0:
            asyncio.get_running_loop().add_reader(keeper, self._keeper_ended, keeper)

    def _keeper_ended(self, keeper: int) -> None:
        """Nobody sees it: the namespace is held by this process, too."""
        asyncio.get_running_loop().remove_reader(keeper)
        restoring = asyncio.create_task(asyncio.to_thread(self._home.restore))
        restoring.add_done_callback(self._restored)

    def _restored(self, restoring: asyncio.Task[None]) -> None:
        if (error := restoring.exception()) is not None:
            _log.error("%s", error)
        else:
            self._watch_keeper()

    def _listen(self, id: str) -> None:
        """Tell what is denied to a container, as long as it is attached."""
        connected = self._connected.get(id)
        if connected is not None and connected.denials is not None:
            asyncio.get_running_loop().add_reader(connected.denials, self._read, id)

    def _read(self, id: str) -> None:
        denials = self._connected[id].denials
        if denials is not None and self._on_denied is not None:
            for denied in denials.read():
                self._on_denied(id, denied)

    async def _do(self, work: Callable[..., None], *arguments: object) -> None:
        """Have the thread do it. Raises NetworkError in place of what the kernel says."""
        try:
            await self._traveller.run(work, *arguments)
        except NetlinkError as error:
            reason = os.strerror(error.code)
            raise NetworkError(f"the kernel refuses what networks need: {reason}") from error
        except OSError as error:
            raise NetworkError(
                f"the kernel refuses what networks need: {error.strerror or error}"
            ) from error

    # In the thread

    def _settle(self) -> None:
        if self._home.namespace < 0:
            self._home.open()
        if self._home.warning:
            _log.warning("%s", self._home.warning)
        self._traveller.settle(self._home.namespace)
        self._links = IPRoute()
        self._firewall = Firewall(Netfilter())
        self._firewall.prepare()
        self._firewall.sweep()
        self._bridges = Bridges(self._links, self._firewall, host=not self._home.rootless)

    def _visiting(self, namespace: int, work: Callable[[], _T]) -> _T:
        with self._traveller.visit(namespace):
            return work()

    def _attach(self, sandbox: Sandbox) -> None:
        connected = self._connected.get(sandbox.id)
        if connected is None:
            connected = _Connected(sandbox.pid, self._namespace_of(sandbox), sandbox)
            try:
                self._connect(connected, sandbox)
            except BaseException:
                connected.close()
                raise
            self._connected[sandbox.id] = connected
        else:
            self._connect(connected, sandbox)
        connected.sandbox = sandbox

    def _namespace_of(self, sandbox: Sandbox) -> int:
        try:
            namespace = namespaces.of_process(sandbox.pid)
        except OSError:
            raise NetworkError(f"container {sandbox.id[:12]} has ended") from None
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        shared = [namespaces.same(namespace, other) for other in (own, self._home.namespace)]
        os.close(own)
        if any(shared):
            os.close(namespace)
            raise NetworkError(f"container {sandbox.id[:12]} has no network of its own")
        return namespace

    def _connect(self, connected: _Connected, sandbox: Sandbox) -> None:
        with self._traveller.visit(connected.namespace):
            inside = IPRoute()
            self._fence(connected, sandbox.egress)
        with contextlib.closing(inside):
            had = endpoints.present(inside)
            fresh = not had
            wanted = {attachment.interface for attachment in sandbox.attachments}
            for name in had.keys() - wanted:
                inside.link("del", index=had.pop(name))
            for attachment in sandbox.attachments:
                self._plug(connected, sandbox.id, attachment, inside, had)
            endpoints.route(inside, sandbox.attachments, had, fresh=fresh)

    def _plug(
        self,
        connected: _Connected,
        id: str,
        attachment: Attachment,
        inside: IPRoute,
        had: dict[str, int],
    ) -> None:
        """Have an interface be there and up, with its addresses; `had` is kept up to date."""
        name, network = attachment.interface, attachment.network
        bridge, _ = self._bridges.ensure(network)
        there = name in had and endpoints.is_connected(
            self._links, id, network.id, bridge=bridge, inner=had[name]
        )
        if not there:
            if name in had:
                inside.link("del", index=had[name])
            try:
                self._create(connected, id, attachment)
            except NetlinkError as error:
                if error.code not in (errno.ENODEV, errno.EINVAL):
                    raise
                # Somebody has removed the bridge.
                self._bridges.forget(network.id)
                self._create(connected, id, attachment)
            (link,) = inside.link("get", ifname=name)
            had[name] = link["index"]
        with self._traveller.visit(connected.namespace):
            endpoints.prepare(attachment)  # who has made it may have been killed before this
        endpoints.configure(inside, attachment, had[name], fresh=not there)

    def _create(self, connected: _Connected, id: str, attachment: Attachment) -> None:
        bridge, mtu = self._bridges.ensure(attachment.network)
        endpoints.create(
            self._links, id, attachment, connected.namespace,
            bridge=bridge, mtu=mtu, hairpin=self.forwards,
        )  # fmt: skip

    def _fence(self, connected: _Connected, rules: str | None) -> None:
        """Put up the container's limits, or take them down; in its namespace."""
        if rules is None and not connected.fenced:
            return
        with contextlib.closing(Netfilter()) as netfilter:
            fence = Fence(netfilter)
            if rules is None:
                fence.take_down()
                connected.fenced = False
                connected.allowed.clear()
                return
            try:
                told = fence.put_up(Egress.parse(rules))
            except ValueError as error:
                raise NetworkError(str(error)) from None
        connected.fenced = True
        if told and connected.denials is None:
            connected.denials = DeniedPackets()
        elif not told:
            _log.warning("this kernel has no nfnetlink_log: denied egress is not told")

    def _allow(self, connected: _Connected, address: str, first: int, last: int) -> None:
        with self._traveller.visit(connected.namespace), contextlib.closing(Netfilter()) as rules:
            Fence(rules).allow(address, first, last)

    def _detach(self, connected: _Connected) -> None:
        try:
            for forwardings in connected.forwardings.values():
                self._withdraw(forwardings)
            # At once: until the kernel has ended the namespace of a process that ended, it
            # would answer for addresses that may be another's by then.
            running = process_start(connected.pid) != ""
            unplug = endpoints.delete if running else endpoints.cut
            for attachment in connected.sandbox.attachments:
                unplug(self._links, connected.sandbox.id, attachment.network.id)
            # Its limits stay: who runs on may have an interface that nobody here knows of, by an
            # attachment that failed halfway.
        finally:
            connected.close()

    def _publish(
        self, connected: _Connected, publication: Publication, forwardings: list[Forwarding]
    ) -> None:
        for forwarding in forwardings:
            self._firewall.publish(forwarding, connected.pid)
        connected.forwardings[publication] = forwardings

    def _withdraw(self, forwardings: list[Forwarding]) -> None:
        for forwarding in forwardings:
            self._firewall.withdraw(forwarding)

    def _remove_network(self, id: str) -> None:
        self._bridges.remove(id)

    def _close(self, idle: bool) -> None:
        if idle and not self._home.rootless:
            self._bridges.leave()
        self._links.close()
        self._home.close(idle=idle)
