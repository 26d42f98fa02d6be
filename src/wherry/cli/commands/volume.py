"""`volume create`, `volume ls`, `volume rm`."""

from __future__ import annotations

from wherry.cli.command import UNLIMITED, Command
from wherry.cli.filters import as_query as filters_of
from wherry.cli.flags import many, switch, text
from wherry.cli.listing import FORMAT_HELP, Listing
from wherry.cli.units import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

FIELDS = {
    "Name": ("VOLUME NAME", lambda v: v["Name"]),
    "Driver": ("DRIVER", lambda v: v["Driver"]),
    "Scope": ("SCOPE", lambda v: v["Scope"]),
    "Mountpoint": ("MOUNTPOINT", lambda v: v["Mountpoint"]),
    "Labels": (
        "LABELS",
        lambda v: ",".join(f"{k}={x}" for k, x in sorted((v.get("Labels") or {}).items())),
    ),
    "Label": ("LABEL", lambda v: lambda name: (v.get("Labels") or {}).get(name, "")),
    "Links": ("LINKS", lambda v: _usage(v, "RefCount")),
    "Size": ("SIZE", lambda v: _usage(v, "Size")),
}


def _usage(volume: Any, field: str) -> str:
    """`docker system df` asks for these, `volume ls` does not."""
    usage = volume.get("UsageData")
    if not usage:
        return "N/A"
    return str(usage[field]) if field == "RefCount" else decimal_size(usage[field])


def _create(session: Session, arguments: Arguments) -> int:
    body = {
        "Name": arguments.words[0] if arguments.words else "",
        "Driver": arguments.text("driver"),
        "DriverOpts": _pairs(arguments.many("opt")),
        "Labels": _pairs(arguments.many("label")),
    }
    session.write_line(session.client.post("/volumes/create", None, body)["Name"])
    return 0


def _pairs(texts: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def _list(session: Session, arguments: Arguments) -> int:
    query = {"filters": filters_of(arguments.many("filter"))}
    volumes = session.client.get("/volumes", query).get("Volumes") or []
    layout = arguments.text("format")
    if arguments.switch("quiet") and not layout:
        layout = "{{.Name}}"
    ordered = sorted(volumes, key=lambda volume: str(volume["Name"]))
    Listing(FIELDS, ("Driver", "Name")).show(session, ordered, layout)
    return 0


def _remove(session: Session, arguments: Arguments) -> int:
    query = {"force": arguments.switch("force")}

    def remove(name: str) -> None:
        session.client.delete(f"/volumes/{name}", query)
        session.write_line(name)

    return session.for_each(arguments.words, remove)


CREATE = Command(
    _create,
    "Create a volume",
    "[VOLUME]",
    (
        text("driver", "d", "Driver of the volume", default="local"),
        many("label", "", "Set a label", metavar="KEY[=VALUE]"),
        many("opt", "o", "Option for the driver", metavar="KEY=VALUE"),
    ),
    most=1,
)
LS = Command(
    _list,
    "List volumes",
    "",
    (
        many("filter", "f", "Show only those that match", metavar="KEY=VALUE"),
        text("format", "", FORMAT_HELP),
        switch("quiet", "q", "Show names only"),
    ),
)
RM = Command(
    _remove,
    "Remove volumes that no container uses",
    "VOLUME [VOLUME...]",
    (switch("force", "f", "Do not complain about one that is not there"),),
    least=1,
    most=UNLIMITED,
    complete=("volume",),
)
