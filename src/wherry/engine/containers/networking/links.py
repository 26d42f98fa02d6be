"""`--link`: another container by a name that only this one knows, kept in its hosts file."""

from collections.abc import Iterator
from typing import NamedTuple

from wherry.engine.containers.container import Container
from wherry.engine.containers.index import Index
from wherry.engine.errors import EngineError, InvalidRequest, NotFound


class Link(NamedTuple):
    """A container, by name or id, and what it is called here."""

    target: str
    alias: str


def links(container: Container) -> Iterator[Link]:
    """All links of a container, of its networks too. Raises InvalidRequest."""
    for text in container.host.links or ():
        yield parse_link(text)
    for asked in container.record.networks.values():
        for text in asked.links or ():
            yield parse_link(text)


def parse_link(text: str) -> Link:
    """`db`, `db:alias`, or as Docker shows them: `/db:/web/alias`. Raises InvalidRequest."""
    target, _, alias = text.partition(":")
    target = target.removeprefix("/")
    alias = alias.rpartition("/")[2] or target
    if not target or not alias.isprintable() or " " in alias:
        raise InvalidRequest(f"bad format for links: {text[:80]}")
    return Link(target, alias)


def linked_names(index: Index, container: Container) -> list[tuple[str, str]]:
    """The names of running linked containers with their addresses in a network of both."""
    found = []
    for link in links(container):
        try:
            target = index.get(link.target)
        except EngineError:
            continue  # it has gone; that is no reason not to start
        address = _shared_address(container, target)
        if address:
            names = dict.fromkeys((link.alias, target.config.hostname, target.name))
            found += [(name, address) for name in names]
    return found


def check_links(index: Index, texts: list[str]) -> None:
    """Raises InvalidRequest for one that leads nowhere."""
    for text in texts:
        target = parse_link(text).target
        try:
            index.get(target)
        except NotFound as error:
            raise InvalidRequest(f"could not get container for {target}: {error}") from None


def _shared_address(one: Container, other: Container) -> str:
    if one.life.plugged is None or other.life.plugged is None:
        return ""
    for name in one.life.plugged.endpoints:
        endpoint = other.life.plugged.endpoints.get(name)
        if endpoint is not None and endpoint.ipv4:
            return endpoint.ipv4.partition("/")[0]
    return ""
