"""The sockets that a module of WASI 0.1 is given: which it finds open, and where it may send to.

A module that makes sockets by itself (WasmEdge's `sock_open`) needs nothing open. One that only
takes connections, which is all that the standard has, finds one listening socket for each port of
its container from descriptor 3 on, before its directories, and in LISTEN_FDS how many they are (as
with sd_listen_fds(3); LISTEN_FDNAMES are the ports).
"""

import contextlib
import os
import socket
import stat
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from wherry.oci import runtime as spec
from wherry.runtime import egress, messages, ports
from wherry.runtime.exits import LaunchError
from wherry.runtime.facts import Facts
from wherry.runtime.sandbox import listeners
from wherry.runtime.sandbox.namespaces import wants_network

if TYPE_CHECKING:
    from wherry.runtime.wasi.sockets import Sockets, SocketTable

_STDERR = 2
_MAX_FILE = 1 << 20
_ANNOUNCED_BY = ("LISTEN_FDS=", "LISTEN_FDNAMES=", "LISTEN_PID=")


def open_for(
    facts: Facts,
    config: spec.Spec,
    request: messages.Fork | messages.Join,
    environment: list[str],
    control: socket.socket,
) -> "Sockets | None":
    """What the calls of a module are answered by; None if it has no use for sockets.

    Ports are those of the container's first process: a further one finds none open. `control` is
    the socket to the overseer; `environment` is told of what is open. Raises LaunchError.
    """
    if facts.component or facts.hosted:
        return None
    imported = {name for name, _ in facts.socket_imports}
    own: dict[int, socket.socket] = {}
    published: dict[int, list[socket.socket]] = {}
    if isinstance(request, messages.Fork) and wants_network(config):
        takes = "sock_accept" in imported and "sock_open" not in imported
        if takes:
            own = listeners.listen(_ports(config, request.id, environment, control))
        path = (config.annotations or {}).get(spec.LISTENERS)
        if path and (own or "sock_listen" in imported):
            published = listeners.fetch(path, request.id)
    if not own and not facts.sockets:
        return None
    # Here, for whoever forks its containers itself and has many without sockets.
    from wherry.runtime.wasi.sockets import Sockets, SocketTable

    table = SocketTable()
    table.published = published
    table.egress = egress.rules(config)
    if table.egress is not None:
        table.denied = _teller()
        table.servers_judge = egress.are_enforced(config)
    try:
        table.preopen(own.values())
    except OSError as error:
        raise LaunchError(f"the published ports cannot be listened on: {error.strerror}") from None
    _announce(environment, own)
    sockets = Sockets(table, facts.socket_imports)
    if table.egress is not None:
        sockets.first = _names(config, table)
    return sockets


def _ports(
    config: spec.Spec, identifier: str, environment: list[str], control: socket.socket
) -> list[int]:
    """The ports of a container, whoever knows them."""
    found = ports.of_config(config, identifier)
    if found is None:
        messages.send(control, messages.NeedPorts())
        packet, _ = messages.receive(control)
        if not packet:
            raise LaunchError("the shim has gone away")
        found = ports.parse(messages.decode(packet, messages.Ports).exposed)
    return found or ports.of_environment(environment)


def _announce(environment: list[str], own: Iterable[int]) -> None:
    """Tell the guest of its open sockets, of whatever else it was told before."""
    names = [f"{port}/tcp" for port in own]
    if names:
        environment[:] = [one for one in environment if not one.startswith(_ANNOUNCED_BY)]
        environment += [f"LISTEN_FDS={len(names)}", f"LISTEN_FDNAMES={':'.join(names)}"]


def _teller() -> Callable[[str], None]:
    """Writes to the container's standard error what is denied, as often as is bearable."""
    from wherry.egress import Denials

    denials = Denials()

    def tell(target: str) -> None:
        line = denials.tell(target, time.monotonic())
        if line:
            with contextlib.suppress(OSError):
                os.write(_STDERR, f"{line}\n".encode())

    return tell


def _names(config: spec.Spec, table: "SocketTable") -> Callable[[], None]:
    """Have `table` know names by the files that the engine mounts into the container.

    What is returned reads them: engines write them until they start the container, and afterwards
    its guest may. Raises LaunchError.
    """
    from wherry.runtime.wasi.sockets import Names

    mounted = {mount.destination.rstrip("/"): mount.source for mount in config.mounts or ()}
    files = [_open(mounted.get(path, "")) for path in ("/etc/hosts", "/etc/resolv.conf")]

    def read() -> None:
        table.know(Names(*map(_read, files)))

    return read


def _open(path: str) -> int | None:
    if not path:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LaunchError(f"{path} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise LaunchError(f"{path} is no file to read names from")
    return descriptor


def _read(descriptor: int | None) -> str:
    """A small file of text, which is closed; none says nothing."""
    if descriptor is None:
        return ""
    with open(descriptor, "rb") as file:
        return file.read(_MAX_FILE).decode(errors="replace")
