"""Kernel settings of one interface: Docker's option of an endpoint, with IFNAME for its name."""

import re
from collections.abc import Mapping

from wherry.engine.errors import InvalidRequest

OPTION = "com.docker.network.endpoint.sysctls"
"""net.ipv4.conf.IFNAME.log_martians=1, and more after commas."""

_SETTING = re.compile(
    r"net\.(?P<path>(?:ipv4|ipv6|mpls)\.[a-z]+\.IFNAME\.[a-z0-9_]+)=(?P<value>[\x20-\x7e]+)"
)


def endpoint_sysctls(options: Mapping[str, str] | None, interface: str) -> dict[str, str]:
    """Values by their paths below net. Raises InvalidRequest."""
    found = {}
    for text in filter(None, (options or {}).get(OPTION, "").split(",")):
        setting = _SETTING.fullmatch(text.strip())
        if setting is None:
            raise InvalidRequest(
                f"invalid setting {text[:80]!r} in {OPTION}: write net.ipv4.conf.IFNAME.NAME=VALUE"
            )
        path = setting["path"].replace(".", "/").replace("/IFNAME/", f"/{interface}/")
        found[path] = setting["value"]
    return found
