"""`ps`: which containers are shown, and in what order."""

from collections.abc import Callable
from contextlib import suppress

from msgspec import UNSET

from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.description import image_ids
from wherry.engine.containers.networking import Port, exposed_ports, parse_ports
from wherry.engine.errors import InvalidRequest, NotFound
from wherry.engine.filters import Filters

_KEYS = frozenset(
    {
        "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label",
        "name", "network", "publish", "since", "status", "volume",
    }
)  # fmt: skip
_STATUSES = frozenset({"created", "dead", "exited", "paused", "removing", "restarting", "running"})
_HEALTH = frozenset({"none", "starting", "healthy", "unhealthy"})


def select(context: Context, *, all: bool, filters: Filters, limit: int) -> list[Container]:
    """The containers to show, newest first. Raises InvalidRequest, NotFound."""
    filters.check(_KEYS)
    for status in filters.get("status"):
        if status not in _STATUSES:
            raise InvalidRequest(f"invalid filter 'status={status}'")
    for health in filters.get("health"):
        if health not in _HEALTH:
            raise InvalidRequest(f"invalid filter 'health={health}'")
    passes = _conditions(context, filters)
    if "status" not in filters and not (all or limit > 0 or "exited" in filters):
        passes.append(lambda container: container.state.running)
    chosen = [container for container in context.index if all_pass(passes, container)]
    chosen.sort(key=lambda container: container.record.created, reverse=True)
    return chosen[:limit] if limit > 0 else chosen


def all_pass(conditions: list[Callable[[Container], bool]], container: Container) -> bool:
    """Whether a container meets every condition."""
    return all(condition(container) for condition in conditions)


def _conditions(context: Context, filters: Filters) -> list[Callable[[Container], bool]]:
    """A condition for each filter that was given."""
    conditions: list[Callable[[Container], bool]] = []

    def add(key: str, make: Callable[[list[str]], Callable[[Container], bool]]) -> None:
        if key in filters:
            conditions.append(make(filters.get(key)))

    add("id", lambda ids: lambda c: any(c.id.startswith(id) for id in ids))
    add("name", lambda names: lambda c: any(name.lstrip("/") in c.name for name in names))
    add("status", lambda words: lambda c: c.state.status in words)
    add("exited", lambda codes: _exited({_code(code) for code in codes}))
    add("label", lambda _: lambda c: filters.accepts_labels(c.config.labels))
    add("ancestor", lambda names: _ancestor(set().union(*(_images(context, n) for n in names))))
    add("volume", lambda names: lambda c: _has_mount(c, names))
    add("network", lambda names: _in_network(_networks(context, names)))
    add("health", lambda words: lambda c: _health(c) in words)
    add("before", lambda names: _before(min(context.index.get(n).record.created for n in names)))
    add("since", lambda names: _after(max(context.index.get(n).record.created for n in names)))
    add("publish", lambda texts: _publishes(_ports("publish", texts)))
    add("expose", lambda texts: _exposes(_ports("expose", texts)))
    if filters.flag("is-task"):
        conditions.append(lambda _: False)
    return conditions


def _networks(context: Context, names: list[str]) -> set[str]:
    """The names of networks that are named by name or id; unknown ones match nothing."""
    found = set()
    for name in names:
        with suppress(NotFound):
            found.add(context.networks.get(name).name)
    return found


def _in_network(names: set[str]) -> Callable[[Container], bool]:
    return lambda c: not names.isdisjoint(c.record.networks)


def _ports(key: str, texts: list[str]) -> set[Port]:
    try:
        return {port for text in texts for port in parse_ports(text)}
    except InvalidRequest as error:
        raise InvalidRequest(f"invalid filter '{key}': {error.message}") from None


def _publishes(ports: set[Port]) -> Callable[[Container], bool]:
    """By the port of the host, as in Docker."""

    def publishes(container: Container) -> bool:
        plugged = container.life.plugged
        published = plugged.published if plugged is not None else ()
        return any(Port(each.host_port, each.protocol) in ports for each in published)

    return publishes


def _exposes(ports: set[Port]) -> Callable[[Container], bool]:
    return lambda c: (
        c.life.plugged is not None and not ports.isdisjoint(exposed_ports(c.config, c.host))
    )


def _health(container: Container) -> str:
    health = container.state.health
    return "none" if health is UNSET else health.status


def _exited(codes: set[int]) -> Callable[[Container], bool]:
    return lambda c: (
        not c.state.running and c.state.status != "created" and (c.state.exit_code in codes)
    )


def _ancestor(images: set[str]) -> Callable[[Container], bool]:
    return lambda c: c.image_id in images or c.config.image in images


def _before(created: int) -> Callable[[Container], bool]:
    return lambda c: c.record.created < created


def _after(created: int) -> Callable[[Container], bool]:
    return lambda c: c.record.created > created


def _code(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidRequest(f"invalid filter 'exited={text}'") from None


def _images(context: Context, name: str) -> set[str]:
    """What containers may have been made of: the images of that name, or the name itself."""
    return image_ids(context, name) or {name}


def _has_mount(container: Container, names: list[str]) -> bool:
    return any(
        {mount.name, mount.source, mount.destination} & set(names)
        for mount in container.record.mounts
    )
