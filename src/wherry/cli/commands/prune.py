"""`container prune`, and the same of images, networks, volumes, builds and the whole system."""

from __future__ import annotations

from wherry.cli.command import Command
from wherry.cli.filters import as_query as filters_of
from wherry.cli.flags import many, switch, text
from wherry.cli.units import decimal_size, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


def _agreed(session: Session, arguments: Arguments, warning: str) -> bool:
    return arguments.switch("force") or session.confirm(f"WARNING! {warning}")


def _filters(arguments: Arguments) -> dict[str, Any]:
    return filters_of(arguments.many("filter"))


def _containers(session: Session, arguments: Arguments) -> int:
    if _agreed(session, arguments, "This will remove all stopped containers."):
        _total(session, _prune_containers(session, _filters(arguments)))
    return 0


def _images(session: Session, arguments: Arguments) -> int:
    everything = arguments.switch("all")
    which = (
        "all images without at least one container associated to them."
        if everything
        else "all dangling images."
    )
    if _agreed(session, arguments, f"This will remove {which}"):
        _total(session, _prune_images(session, _filters(arguments), everything=everything))
    return 0


def _networks(session: Session, arguments: Arguments) -> int:
    warning = "This will remove all custom networks not used by at least one container."
    if _agreed(session, arguments, warning):
        _prune_networks(session, _filters(arguments))
    return 0


def _volumes(session: Session, arguments: Arguments) -> int:
    everything = arguments.switch("all")
    which = "all" if everything else "anonymous"
    warning = f"This will remove {which} local volumes not used by at least one container."
    if _agreed(session, arguments, warning):
        _total(session, _prune_volumes(session, _filters(arguments), everything=everything))
    return 0


def _builds(session: Session, arguments: Arguments) -> int:
    if _agreed(session, arguments, "This will remove all build cache."):
        query: dict[str, Any] = {"filters": _filters(arguments)}
        for bound in ("keep-storage", "reserved-space", "max-used-space", "min-free-space"):
            if arguments.text(bound):
                query[bound] = parse_size(arguments.text(bound))
        _total(session, _prune_builds(session, query), label="Total")
    return 0


def _system(session: Session, arguments: Arguments) -> int:
    everything = arguments.switch("all")
    images = (
        "all images without at least one container associated to them"
        if everything
        else "all dangling images"
    )
    networks = "all networks not used by at least one container"
    doomed = ["all stopped containers", networks, images, "unused build cache"]
    if arguments.switch("volumes"):
        doomed.insert(2, "all anonymous volumes not used by at least one container")
    lines = "".join(f"  - {item}\n" for item in doomed)
    if not _agreed(session, arguments, f"This will remove:\n{lines}"):
        return 0
    filters = _filters(arguments)
    freed = _prune_containers(session, filters)
    _prune_networks(session, filters)
    if arguments.switch("volumes"):
        freed += _prune_volumes(session, filters, everything=False)
    freed += _prune_images(session, filters, everything=everything)
    freed += _prune_builds(session)
    _total(session, freed)
    return 0


def _total(session: Session, freed: int, label: str = "Total reclaimed space") -> None:
    session.write_line(f"{label}: {decimal_size(freed)}")


def _report(session: Session, title: str, names: list[str]) -> None:
    if names:
        session.write(f"{title}:\n" + "".join(f"{name}\n" for name in names) + "\n")


def _prune_containers(session: Session, filters: dict[str, Any]) -> int:
    """Bytes that came free; so for what else takes room."""
    answer = session.client.post("/containers/prune", {"filters": filters})
    _report(session, "Deleted Containers", answer.get("ContainersDeleted") or [])
    return int(answer["SpaceReclaimed"])


def _prune_networks(session: Session, filters: dict[str, Any]) -> None:
    answer = session.client.post("/networks/prune", {"filters": filters})
    _report(session, "Deleted Networks", answer.get("NetworksDeleted") or [])


def _prune_images(session: Session, filters: dict[str, Any], *, everything: bool) -> int:
    dangling = {"dangling": ["false" if everything else "true"]}
    answer = session.client.post("/images/prune", {"filters": {**filters, **dangling}})
    changes = [
        f"{action.lower()}: {subject}"
        for change in answer.get("ImagesDeleted") or ()
        for action, subject in change.items()
    ]
    _report(session, "Deleted Images", changes)
    return int(answer["SpaceReclaimed"])


def _prune_volumes(session: Session, filters: dict[str, Any], *, everything: bool) -> int:
    if everything:
        filters = {**filters, "all": ["true"]}
    answer = session.client.post("/volumes/prune", {"filters": filters})
    _report(session, "Deleted Volumes", answer.get("VolumesDeleted") or [])
    return int(answer["SpaceReclaimed"])


def _prune_builds(session: Session, query: dict[str, Any] | None = None) -> int:
    answer = session.client.post("/build/prune", query) or {}
    _report(session, "Deleted build cache objects", answer.get("CachesDeleted") or [])
    return int(answer.get("SpaceReclaimed") or 0)


_FILTER = many("filter", "", "Remove only those that match (until=24h)", metavar="KEY=VALUE")
_FORCE = switch("force", "f", "Do not ask")

CONTAINERS = Command(_containers, "Remove all stopped containers", "", (_FILTER, _FORCE))
IMAGES = Command(
    _images,
    "Remove unused images",
    "",
    (switch("all", "a", "Remove all unused images, not just dangling ones"), _FILTER, _FORCE),
)
NETWORKS = Command(_networks, "Remove unused networks", "", (_FILTER, _FORCE))
VOLUMES = Command(
    _volumes,
    "Remove unused volumes",
    "",
    (switch("all", "a", "Remove named ones, too"), _FILTER, _FORCE),
)
BUILDS = Command(
    _builds,
    "Remove the build cache",
    "",
    (
        switch("all", "a", "Remove all of it (it is anyway)"),
        _FILTER,
        _FORCE,
        text("keep-storage", "", "The same as --reserved-space", metavar="BYTES"),
        text("max-used-space", "", "Leave no more than so many bytes", metavar="BYTES"),
        text("min-free-space", "", "Have so many bytes free on the disk", metavar="BYTES"),
        text("reserved-space", "", "Keep so many bytes of what was used last", metavar="BYTES"),
    ),
)
SYSTEM = Command(
    _system,
    "Remove stopped containers, unused networks and images, and the build cache",
    "",
    (
        switch("all", "a", "Remove all unused images, not just dangling ones"),
        _FILTER,
        _FORCE,
        switch("volumes", "", "Remove anonymous volumes, too"),
    ),
)
