"""Published ports: what is wished for becomes what the host has, before a container is started."""

from collections.abc import Sequence

from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.networking.ports import Wish
from wherry.engine.errors import EngineError, NetworkRefused
from wherry.network import NetworkError, PortInUse, Publication


async def reserve(
    context: Context, container: Container, wishes: Sequence[Wish], binding: str
) -> list[Publication]:
    """Reserve all ports or none; `binding` is the host's address where none is wished for.

    Raises NetworkRefused, which says who has a port that is in use.
    """
    tried = [wish.first for wish in wishes]
    while True:
        publications = [
            Publication(
                container_port=wish.port.number,
                protocol=wish.port.protocol,
                host_ip=wish.host_ip or binding,
                host_port=port,
            )
            for wish, port in zip(wishes, tried, strict=True)
        ]
        try:
            return await context.network_client.reserve(container.id, publications)
        except PortInUse as error:
            at = _place(publications, error.publication)
            if tried[at] >= wishes[at].last:
                raise _in_use(context, container, wishes[at], error) from None
            tried[at] += 1
        except NetworkError as error:
            raise NetworkRefused(str(error)) from None


def _place(asked: Sequence[Publication], refused: Publication) -> int:
    """Which of those asked for was refused; one for all addresses is refused at one of them."""

    def is_of(each: Publication, ports: tuple[int, ...]) -> bool:
        return (
            (each.container_port, each.protocol) == (refused.container_port, refused.protocol)
            and each.host_ip in ("", refused.host_ip)
            and each.host_port in ports
        )

    for ports in ((refused.host_port,), (0,)):
        for place, each in enumerate(asked):
            if is_of(each, ports):
                return place
    raise NetworkRefused(f"a port that nobody asked for is in use: {refused.host_port}")


def _in_use(context: Context, container: Container, wish: Wish, error: PortInUse) -> NetworkRefused:
    host = error.publication.host_ip or "0.0.0.0"  # noqa: S104 (what is shown for all addresses)
    host = f"[{host}]" if ":" in host else host
    ports = f"{wish.first}" if wish.first == wish.last else f"{wish.first}-{wish.last}"
    why = "another program has it; stop that or publish another port"
    if error.holder == container.id:
        why = "this container publishes it twice; leave out one of the two"
    elif error.holder is not None:
        name = _name(context, error.holder)
        why = f"container {name!r} publishes it; stop that or publish another port"
    return NetworkRefused(f"Bind for {host}:{ports} failed: port is already allocated: {why}")


def _name(context: Context, id: str) -> str:
    try:
        return context.index.get(id).name
    except EngineError:
        return id[:12]
