"""How a container takes part in one network: its aliases and addresses there."""

from __future__ import annotations

from wherry.cli.address import is_ip, is_ipv4, is_ipv6, is_mac
from wherry.cli.errors import UsageError
from wherry.cli.flags import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LONG = ("name", "alias", "ip", "ip6", "mac-address", "link-local-ip", "driver-opt", "gw-priority")


class Endpoint:
    """What a person said about one network of a container; `settings` is what the API takes."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.aliases: list[str] = []
        self.links: list[str] = []
        self.ip = ""
        self.ip6 = ""
        self.mac = ""
        self.link_local: list[str] = []
        self.options: dict[str, str] = {}
        self.priority = 0

    @property
    def settings(self) -> dict[str, Any]:
        """`EndpointSettings`; empty when nothing was said."""
        pairs = {"IPv4Address": self.ip, "IPv6Address": self.ip6, "LinkLocalIPs": self.link_local}
        fields = {
            "IPAMConfig": {name: value for name, value in pairs.items() if value},
            "Aliases": self.aliases,
            "Links": self.links,
            "MacAddress": self.mac,
            "DriverOpts": self.options,
            "GwPriority": self.priority,
        }
        return {name: value for name, value in fields.items() if value}

    def check(self) -> Endpoint:
        """Itself. Raises `UsageError` when an address is none."""
        for flag, value, right in (
            ("--ip", self.ip, is_ipv4(self.ip)),
            ("--ip6", self.ip6, is_ipv6(self.ip6)),
        ):
            if value and not right:
                kind = "IPv6" if flag == "--ip6" else "IPv4"
                raise invalid(flag, value, f"an {kind} address is needed")
        for value in self.link_local:
            if not is_ip(value):
                raise invalid("--link-local-ip", value, "an address is needed")
        if self.mac and not is_mac(self.mac):
            raise invalid("--mac-address", self.mac, "write six bytes like 92:d0:c6:0a:29:33")
        for link in self.links:
            check_link(link)
        return self


def check_link(link: str) -> str:
    """A `--link` value, `CONTAINER[:ALIAS]`. Raises `UsageError`."""
    parts = link.split(":")
    if not parts[0] or len(parts) > 2:
        raise invalid("--link", link, "write CONTAINER or CONTAINER:ALIAS")
    return link


def parse_network(text: str) -> Endpoint:
    """A `--network` value: a name, or `name=…,alias=…,ip=…`. Raises `UsageError`."""
    if not text:
        raise UsageError("--network needs the name of a network", 125)
    if "=" not in text:
        return Endpoint(text)
    endpoint = Endpoint("")
    for field in text.split(","):
        key, equals, value = field.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals or not value or key not in _LONG:
            raise invalid("--network", text, f"'{field}' is none of {'=…, '.join(_LONG)}=…")
        _set(endpoint, key, value, text)
    if not endpoint.network:
        raise invalid("--network", text, "name=NETWORK is missing")
    return endpoint.check()


def _set(endpoint: Endpoint, key: str, value: str, text: str) -> None:
    if key == "name":
        endpoint.network = value
    elif key == "alias":
        endpoint.aliases.append(value)
    elif key == "ip":
        endpoint.ip = value
    elif key == "ip6":
        endpoint.ip6 = value
    elif key == "mac-address":
        endpoint.mac = value
    elif key == "link-local-ip":
        endpoint.link_local.append(value)
    elif key == "driver-opt":
        name, equals, option = value.partition("=")
        if not equals:
            raise invalid("--network", text, "write driver-opt=NAME=VALUE")
        endpoint.options[name] = option
    else:
        try:
            endpoint.priority = int(value)
        except ValueError:
            raise invalid("--network", text, "gw-priority is a whole number") from None
