"""`ps`: the list of containers."""

from __future__ import annotations

from wherry.cli.command import Command
from wherry.cli.errors import UsageError
from wherry.cli.filters import as_query as filters_of
from wherry.cli.flags import many, number, switch, text
from wherry.cli.listing import FORMAT_HELP, Listing
from wherry.cli.moment import ago, local_text
from wherry.cli.ports import ports_text
from wherry.cli.short import ellipsis, quoted, short_id
from wherry.cli.units import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

STANDARD = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def container_listing(*, full: bool, size: bool = False) -> Listing:
    """How containers are listed; `full` shows IDs and commands in their whole length."""
    cut: Callable[[str, int], str] = (lambda value, _: value) if full else ellipsis
    fields: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "ID": ("CONTAINER ID", lambda c: c["Id"] if full else short_id(c["Id"])),
        "Names": ("NAMES", lambda c: _names(c, full=full)),
        "Image": ("IMAGE", lambda c: _image(c, full=full)),
        "Command": ("COMMAND", lambda c: quoted(cut(c.get("Command") or "", 20))),
        "CreatedAt": ("CREATED AT", lambda c: local_text(c["Created"])),
        "RunningFor": ("CREATED", lambda c: ago(c["Created"])),
        "Ports": ("PORTS", lambda c: ports_text(c.get("Ports") or ())),
        "State": ("STATE", lambda c: c["State"]),
        "Status": ("STATUS", lambda c: c["Status"]),
        "Size": ("SIZE", _size),
        "Labels": ("LABELS", lambda c: _joined(c.get("Labels"))),
        "Label": ("LABEL", lambda c: lambda name: (c.get("Labels") or {}).get(name, "")),
        "LocalVolumes": ("LOCAL VOLUMES", _local_volumes),
        "Mounts": ("MOUNTS", lambda c: ",".join(cut(m, 15) for m in _mounts(c))),
        "Networks": ("NETWORKS", _networks),
    }
    return Listing(fields, (*STANDARD, "Size") if size else STANDARD)


def _names(container: Any, *, full: bool) -> str:
    names = [name.removeprefix("/") for name in container.get("Names") or ()]
    return ",".join(name for name in names if full or "/" not in name)


def _image(container: Any, *, full: bool) -> str:
    image: str = container.get("Image") or "<no image>"
    if full:
        return image
    if short_id(image) == short_id(container.get("ImageID") or "-"):
        return short_id(image)
    name, at, _ = image.partition("@")
    return name if at and ":" not in name.rpartition("/")[2] else image


def _size(container: Any) -> str:
    own = written_size(container)
    virtual = container.get("SizeRootFs") or 0
    return f"{own} (virtual {decimal_size(virtual, 3)})" if virtual > 0 else own


def written_size(container: Any) -> str:
    """What the container itself has written."""
    return decimal_size(container.get("SizeRw") or 0, 3)


def _joined(labels: dict[str, str] | None) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted((labels or {}).items()))


def _mounts(container: Any) -> list[str]:
    return [mount.get("Name") or mount["Source"] for mount in container.get("Mounts") or ()]


def _local_volumes(container: Any) -> str:
    mounts = container.get("Mounts") or ()
    return str(sum(mount.get("Driver") == "local" for mount in mounts))


def _networks(container: Any) -> str:
    return ",".join(sorted((container.get("NetworkSettings") or {}).get("Networks") or {}))


def _list(session: Session, arguments: Arguments) -> int:
    layout = arguments.text("format")
    limit = arguments.number("last")
    if arguments.switch("latest"):
        limit = 1
    if arguments.given("last") and limit < -1:
        raise UsageError("-n needs a number of containers")
    size = arguments.switch("size") or ".Size" in layout
    query = {
        "all": arguments.switch("all") or limit > 0,
        "limit": limit if limit > 0 else None,
        "size": size,
        "filters": filters_of(arguments.many("filter")),
    }
    containers = session.client.get("/containers/json", query)
    full = arguments.switch("no-trunc")
    listing = container_listing(full=full, size=arguments.switch("size"))
    if arguments.switch("quiet") and not layout:
        layout = "{{.ID}}"
    listing.show(session, containers, layout)
    return 0


PS = Command(
    _list,
    "List containers",
    "",
    (
        switch("all", "a", "Show all containers, not just running ones"),
        many("filter", "f", "Show only those that match", metavar="KEY=VALUE"),
        text("format", "", FORMAT_HELP),
        number("last", "n", "Show the n created last, in any state", default=-1),
        switch("latest", "l", "Show the one created last, in any state"),
        switch("no-trunc", "", "Do not shorten IDs and commands"),
        switch("quiet", "q", "Show IDs only"),
        switch("size", "s", "Show sizes"),
    ),
    examples=(
        "wherry ps -a",
        "wherry ps -q --filter status=exited",
        "wherry ps --format 'table {{.Names}}\\t{{.Status}}'",
    ),
)
