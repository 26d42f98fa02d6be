"""`info`, `version`, `system df`."""

from __future__ import annotations

from wherry.cli.columns import align
from wherry.cli.command import Command
from wherry.cli.flags import switch, text
from wherry.cli.listing import FORMAT_HELP, Listing
from wherry.cli.moment import ago
from wherry.cli.units import binary_size, decimal_size
from wherry.client import ClientError, json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_INFO = (
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
    ("Default Runtime", "DefaultRuntime"),
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
)


def _client() -> dict[str, object]:
    import platform
    import sys

    from wherry import __version__

    machine = platform.machine()

    return {
        "Version": __version__,
        "Python": platform.python_version(),
        "Os": sys.platform,
        "Arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
    }


def _render(session: Session, layout: str, document: Any) -> None:
    if layout == "json":
        session.write_line(json.encode(document))
        return
    from wherry.cli.listing import unescape
    from wherry.cli.template import Template

    session.write_line(Template(unescape(layout)).render(document))


def _info(session: Session, arguments: Arguments) -> int:
    info = session.client.get("/info")
    if arguments.text("format"):
        _render(session, arguments.text("format"), {**info, "ClientInfo": _client()})
        return 0
    lines = [
        "Client:",
        f" Version: {_client()['Version']}",
        f" Engine address: {session.address}",
        "",
        "Server:",
        f" Containers: {info['Containers']}",
        f"  Running: {info['ContainersRunning']}",
        f"  Paused: {info['ContainersPaused']}",
        f"  Stopped: {info['ContainersStopped']}",
        f" Images: {info['Images']}",
        *(f" {title}: {info[field]}" for title, field in _INFO if info.get(field)),
    ]
    if info.get("Runtimes"):
        lines.insert(-5, f" Runtimes: {' '.join(sorted(info['Runtimes']))}")
    if info.get("MemTotal"):
        lines.append(f" Total Memory: {binary_size(info['MemTotal'])}")
    lines += [
        f" {title}: {info[field]}"
        for title, field in (("Name", "Name"), ("ID", "ID"), ("Root Dir", "DockerRootDir"))
        if info.get(field)
    ]
    options = info.get("SecurityOptions") or ()
    if options:
        lines.append(" Security Options:")
        lines += [f"  {option.removeprefix('name=')}" for option in options]
    session.write("".join(f"{line}\n" for line in lines))
    for warning in info.get("Warnings") or ():
        session.complain(str(warning))
    return 0


def _version(session: Session, arguments: Arguments) -> int:
    """Without an engine the client's half is printed nevertheless."""
    server: Any = None
    failure: ClientError | None = None
    try:
        server = session.client.get("/version")
    except ClientError as error:
        failure = error
    layout = arguments.text("format")
    if layout and failure is None:
        _render(session, layout, {"Client": _client(), "Server": server})
    elif not layout:
        client = _client()
        session.write(
            f"Client: wherry\n Version:    {client['Version']}\n"
            f" Python:     {client['Python']}\n OS/Arch:    {client['Os']}/{client['Arch']}\n"
        )
    if failure is not None:
        raise failure
    if not layout:
        session.write(_server_text(server))
    return 0


def _server_text(server: Any) -> str:
    name = (server.get("Platform") or {}).get("Name") or "engine"
    oldest = server.get("MinAPIVersion", "?")
    lines = [
        "",
        f"Server: {name}",
        f" Version:     {server['Version']}",
        f" API version: {server['ApiVersion']} (minimum version {oldest})",
        f" OS/Arch:     {server.get('Os')}/{server.get('Arch')}",
    ]
    for component in server.get("Components") or ():
        if component["Name"] != "Engine":
            lines.append(f" {component['Name']}: {component['Version']}")
    return "".join(f"{line}\n" for line in lines)


def _df(session: Session, arguments: Arguments) -> int:
    usage = session.client.get("/system/df")
    if arguments.switch("verbose"):
        _df_verbose(session, usage)
        return 0
    listing = Listing(
        {
            "Type": ("TYPE", lambda row: row[0]),
            "TotalCount": ("TOTAL", lambda row: str(row[1])),
            "Active": ("ACTIVE", lambda row: str(row[2])),
            "Size": ("SIZE", lambda row: decimal_size(row[3])),
            "Reclaimable": ("RECLAIMABLE", _reclaimable),
        },
        ("Type", "TotalCount", "Active", "Size", "Reclaimable"),
    )
    listing.show(session, _summary(usage), arguments.text("format"))
    return 0


def _reclaimable(row: Any) -> str:
    kind, _, _, size, free = row
    if kind in ("Build Cache", "Engine") or size <= 0:
        return decimal_size(free)
    return f"{decimal_size(free)} ({int(free * 100 / size)}%)"


def _summary(usage: Any) -> list[tuple[str, int, int, int, int]]:
    """(type, how many, how many in use, bytes, bytes that are not in use)."""
    if disk := usage.get("Disk"):
        fields = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
        return [tuple(kind[field] for field in fields) for kind in disk]
    images = usage.get("Images") or []
    used = [image for image in images if image.get("Containers", 0) > 0]
    used_size = sum(i["Size"] - max(0, i.get("SharedSize", 0)) for i in used)
    layers = usage.get("LayersSize") or 0
    containers = usage.get("Containers") or []
    alive = [c for c in containers if c["State"] in ("running", "paused", "restarting")]
    written = [c.get("SizeRw") or 0 for c in containers]
    active = sum(c.get("SizeRw") or 0 for c in alive)
    volumes = [v.get("UsageData") or {} for v in usage.get("Volumes") or []]
    held = [v for v in volumes if v.get("RefCount", 0) > 0]
    size = sum(max(0, v.get("Size", 0)) for v in volumes)
    held_size = sum(max(0, v.get("Size", 0)) for v in held)
    caches = usage.get("BuildCache") or []
    cached = sum(c["Size"] for c in caches if not c.get("Shared"))
    busy = sum(c["Size"] for c in caches if c.get("InUse") and not c.get("Shared"))
    in_use = sum(bool(c.get("InUse")) for c in caches)
    return [
        ("Images", len(images), len(used), layers, max(0, layers - used_size)),
        ("Containers", len(containers), len(alive), sum(written), sum(written) - active),
        ("Local Volumes", len(volumes), len(held), size, size - held_size),
        ("Build Cache", len(caches), in_use, cached, cached - busy),
    ]


def _df_verbose(session: Session, usage: Any) -> None:
    from wherry.cli.commands.images import image_listing, rows
    from wherry.cli.commands.ps import container_listing, written_size
    from wherry.cli.commands.volume import FIELDS

    images = image_listing(full=False)
    shown = ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize")
    table = Listing(images.fields, (*shown, "Containers")).table(rows(usage.get("Images") or []))
    session.write(f"Images space usage:\n\n{table}")
    fields = {**container_listing(full=False).fields, "Size": ("SIZE", written_size)}
    shown = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status")
    table = Listing(fields, (*shown, "Names")).table(usage.get("Containers") or [])
    session.write(f"\nContainers space usage:\n\n{table}")
    volumes = usage.get("Volumes") or []
    table = Listing(FIELDS, ("Name", "Links", "Size")).table(volumes)
    session.write(f"\nLocal Volumes space usage:\n\n{table}")
    caches = usage.get("BuildCache") or []
    disk = usage.get("Disk") or []
    sizes = {kind["Type"]: kind["Size"] for kind in disk}
    total = sum(cache["Size"] for cache in caches if not cache.get("Shared"))
    total = sizes.get("Build Cache", total)  # with what has no record of its own
    lines = [["CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"]]
    lines += [_cache_row(cache) for cache in caches]
    session.write(f"\nBuild cache usage: {decimal_size(total)}\n\n{align(lines)}")
    if disk:
        session.write(
            f"\nCompiled code usage: {decimal_size(sizes['Compiled Code'])}\n"
            f"\nThe engine's own: {decimal_size(sizes['Engine'])}\n"
            f"\nAll together: {decimal_size(sum(sizes.values()))} "
            f"({sum(sizes.values())} bytes, as du counts)\n"
        )


def _cache_row(cache: Any) -> list[str]:
    from wherry.cli.moment import parse_rfc3339

    def since(field: str) -> str:
        moment = cache.get(field)
        return ago(parse_rfc3339(moment) / 1e9) if moment else ""

    return [
        cache["ID"][:12],
        cache.get("Type", ""),
        decimal_size(cache["Size"]),
        since("CreatedAt"),
        since("LastUsedAt"),
        str(cache.get("UsageCount", 0)),
        "true" if cache.get("Shared") else "false",
    ]


_FORMAT = text("format", "f", "Print by a Go template, or 'json'")

INFO = Command(_info, "Show what the engine is and has", "", (_FORMAT,))
VERSION = Command(_version, "Show the versions of client and engine", "", (_FORMAT,))
DF = Command(
    _df,
    "Show how much disk images, containers and volumes take",
    "",
    (text("format", "", FORMAT_HELP), switch("verbose", "v", "Show each of them")),
)
