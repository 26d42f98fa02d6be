"""Which proxy a request goes through: HTTPS_PROXY, HTTP_PROXY, NO_PROXY, as in Docker and Go."""

import ipaddress
import os
from collections.abc import Mapping

from wherry.registry.hosts import is_loopback
from wherry.registry.url import Url


def proxy_for(url: Url, environment: Mapping[str, str] = os.environ) -> str | None:
    """The address of the proxy for `url`, or None. This very machine is never behind one."""
    name = f"{url.scheme}_proxy"
    proxy = environment.get(name.upper()) or environment.get(name)
    if not proxy or is_loopback(url.host):
        return None
    exceptions = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    if any(_excepts(entry.strip().lower(), url) for entry in exceptions.split(",")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _excepts(entry: str, url: Url) -> bool:
    if entry in ("", "*"):
        return bool(entry)
    try:
        return ipaddress.ip_address(url.host) in ipaddress.ip_network(entry.strip("[]"), False)
    except ValueError:
        pass
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit():
        if int(port) != url.port:
            return False
        entry = host
    if entry.startswith(("*.", ".")):
        return url.host.endswith(entry.removeprefix("*"))
    return url.host == entry or url.host.endswith(f".{entry}")
