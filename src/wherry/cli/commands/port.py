"""`port`: where the ports of a container are published."""

from __future__ import annotations

from wherry.cli.address import with_port
from wherry.cli.command import Command
from wherry.cli.errors import CommandError
from wherry.cli.natural import natural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


def _port(session: Session, arguments: Arguments) -> int:
    name, *asked = arguments.words
    container = session.client.get(f"/containers/{name}/json")
    ports = (container.get("NetworkSettings") or {}).get("Ports") or {}
    published = {
        port: [with_port(binding["HostIp"], binding["HostPort"]) for binding in bindings]
        for port, bindings in ports.items()
        if bindings
    }
    if asked:
        lines = published.get(_key(asked[0]), [])
        if not lines:
            known = f"; published are {', '.join(sorted(published, key=natural))}"
            rest = known if published else "; none is"
            raise CommandError(f"port {asked[0]} of {name} is not published{rest}")
    else:
        lines = [f"{port} -> {place}" for port, places in published.items() for place in places]
    for line in sorted(lines, key=natural):
        session.write_line(line)
    return 0


def _key(text: str) -> str:
    """`80/tcp` of `80` or `80/tcp`. Raises `CommandError`."""
    port, _, protocol = text.partition("/")
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise CommandError(f"'{text}' is no port: write 80 or 53/udp")
    return f"{port}/{protocol or 'tcp'}"


PORT = Command(
    _port,
    "Show where the ports of a container are published",
    "CONTAINER [PORT[/PROTO]]",
    least=1,
    most=2,
    complete=("container", ()),
    examples=("wherry port web", "wherry port web 80"),
)
