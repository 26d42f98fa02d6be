"""`network create`, `ls`, `connect`, `disconnect`, `rm`."""

from __future__ import annotations

from wherry.cli.command import UNLIMITED, Command
from wherry.cli.endpoint import Endpoint
from wherry.cli.filters import as_query as filters_of
from wherry.cli.flags import many, number, switch, text
from wherry.cli.listing import FORMAT_HELP, Listing
from wherry.cli.natural import natural
from wherry.cli.short import short_id
from wherry.client import DaemonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


def network_listing(*, full: bool) -> Listing:
    """How networks are listed; `full` shows IDs in their whole length."""
    return Listing(
        {
            "ID": ("NETWORK ID", lambda n: n["Id"] if full else short_id(n["Id"])),
            "Name": ("NAME", lambda n: n["Name"]),
            "Driver": ("DRIVER", lambda n: n["Driver"]),
            "Scope": ("SCOPE", lambda n: n["Scope"]),
            "IPv4": ("IPV4", lambda n: _truth(n.get("EnableIPv4", True))),
            "IPv6": ("IPV6", lambda n: _truth(n.get("EnableIPv6", False))),
            "Internal": ("INTERNAL", lambda n: _truth(n.get("Internal", False))),
            "Labels": (
                "LABELS",
                lambda n: ",".join(f"{k}={v}" for k, v in (n.get("Labels") or {}).items()),
            ),
            "CreatedAt": ("CREATED AT", lambda n: _go_time(n.get("Created") or "")),
            "Label": ("LABEL", lambda n: lambda name: (n.get("Labels") or {}).get(name, "")),
        },
        ("ID", "Name", "Driver", "Scope"),
    )


def _truth(value: Any) -> str:
    return "true" if value else "false"


def _go_time(text: str) -> str:
    """`2026-11-21T09:54:40.123456789Z` as Go prints a time of that zone."""
    day, _, rest = text.partition("T")
    clock = rest.rstrip("Z") if rest.endswith("Z") else rest[:-6]
    zone = "+0000 UTC" if rest.endswith("Z") else rest[-6:].replace(":", "")
    seconds, dot, fraction = clock.partition(".")
    return f"{day} {seconds}{dot}{fraction} {zone}" if rest else text


def _create(session: Session, arguments: Arguments) -> int:
    body: dict[str, Any] = {
        "Name": arguments.words[0],
        "CheckDuplicate": True,
        "Driver": arguments.text("driver"),
        "Internal": arguments.switch("internal"),
        "Attachable": arguments.switch("attachable"),
        "EnableIPv6": arguments.switch("ipv6"),
        "Options": _pairs(arguments.many("opt")),
        "Labels": _pairs(arguments.many("label")),
    }
    if arguments.given("ipv4"):
        body["EnableIPv4"] = arguments.switch("ipv4")
    if any(arguments.given(name) for name in _IPAM):
        from wherry.cli.ipam import describe_ipam

        body["IPAM"] = describe_ipam(arguments)
    answer = session.client.post("/networks/create", None, body)
    if answer.get("Warning"):
        session.complain(f"warning: {answer['Warning']}")
    session.write_line(answer["Id"])
    return 0


def _pairs(texts: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def _list(session: Session, arguments: Arguments) -> int:
    query = {"filters": filters_of(arguments.many("filter"))}
    networks = session.client.get("/networks", query) or []
    layout = arguments.text("format")
    if arguments.switch("quiet") and not layout:
        layout = "{{.ID}}"
    ordered = sorted(networks, key=lambda network: natural(str(network["Name"])))
    network_listing(full=arguments.switch("no-trunc")).show(session, ordered, layout)
    return 0


def _connect(session: Session, arguments: Arguments) -> int:
    name, container = arguments.words
    endpoint = Endpoint(name)
    endpoint.aliases = arguments.many("alias")
    endpoint.links = arguments.many("link")
    endpoint.ip = arguments.text("ip")
    endpoint.ip6 = arguments.text("ip6")
    endpoint.link_local = arguments.many("link-local-ip")
    endpoint.options = _pairs(arguments.many("driver-opt"))
    endpoint.priority = arguments.number("gw-priority")
    body = {"Container": container, "EndpointConfig": endpoint.check().settings}
    session.client.post(f"/networks/{name}/connect", None, body)
    return 0


def _disconnect(session: Session, arguments: Arguments) -> int:
    name, container = arguments.words
    body = {"Container": container, "Force": arguments.switch("force")}
    session.client.post(f"/networks/{name}/disconnect", None, body)
    return 0


def _remove(session: Session, arguments: Arguments) -> int:
    def remove(name: str) -> None:
        try:
            session.client.delete(f"/networks/{name}")
        except DaemonError as error:
            if error.status != 404 or not arguments.switch("force"):
                raise
        else:
            session.write_line(name)

    return session.for_each(arguments.words, remove)


_IPAM = ("subnet", "gateway", "ip-range", "aux-address", "ipam-driver", "ipam-opt")

CREATE = Command(
    _create,
    "Create a network",
    "NETWORK",
    (
        switch("attachable", "", "Let containers be attached by hand (all can be)"),
        many("aux-address", "", "Address to leave free", metavar="NAME=ADDRESS"),
        text("driver", "d", "Driver of the network", default="bridge"),
        many("gateway", "", "This machine's address in the subnet", metavar="ADDRESS"),
        switch("internal", "", "No way out of the network, and none in from outside"),
        many("ip-range", "", "Part of the subnet that containers get", metavar="CIDR"),
        text("ipam-driver", "", "Driver that gives addresses", default="default"),
        many("ipam-opt", "", "Option for that driver", metavar="KEY=VALUE"),
        switch("ipv4", "", "Addresses of IPv4", default=True),
        switch("ipv6", "", "Addresses of IPv6, too"),
        many("label", "", "Set a label", metavar="KEY[=VALUE]"),
        many("opt", "o", "Option for the driver", metavar="KEY=VALUE"),
        many("subnet", "", "The network's addresses (172.28.0.0/16)", metavar="CIDR"),
    ),
    least=1,
    most=1,
    examples=(
        "wherry network create front",
        "wherry network create --subnet 172.28.0.0/16 --gateway 172.28.0.1 front",
        "wherry network create --internal back",
    ),
)  # fmt: skip
LS = Command(
    _list,
    "List networks",
    "",
    (
        many("filter", "f", "Show only those that match (driver=bridge)", metavar="KEY=VALUE"),
        text("format", "", FORMAT_HELP),
        switch("no-trunc", "", "Do not shorten IDs"),
        switch("quiet", "q", "Show IDs only"),
    ),
)
CONNECT = Command(
    _connect,
    "Connect a container to a network",
    "NETWORK CONTAINER",
    (
        many("alias", "", "Further name in the network", metavar="NAME"),
        many("driver-opt", "", "Option for the network's driver", metavar="KEY=VALUE"),
        number("gw-priority", "", "The network of the highest one gives the way out"),
        text("ip", "", "IPv4 address in the network", metavar="ADDRESS"),
        text("ip6", "", "IPv6 address in the network", metavar="ADDRESS"),
        many(
            "link", "", "Know another container by a name", metavar="CONTAINER:ALIAS",
            complete="container",
        ),
        many("link-local-ip", "", "Link-local address in the network", metavar="ADDRESS"),
    ),
    least=2,
    most=2,
    complete=("network", "container"),
    examples=("wherry network connect --alias db back postgres",),
)  # fmt: skip
DISCONNECT = Command(
    _disconnect,
    "Disconnect a container from a network",
    "NETWORK CONTAINER",
    (switch("force", "f", "Even if the container is not there any more"),),
    least=2,
    most=2,
    complete=("network", "container"),
)
RM = Command(
    _remove,
    "Remove networks that no container uses",
    "NETWORK [NETWORK...]",
    (switch("force", "f", "Do not complain about one that is not there"),),
    least=1,
    most=UNLIMITED,
    complete=("network",),
)
