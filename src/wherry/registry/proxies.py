"""Which proxy a request goes through: HTTPS_PROXY, HTTP_PROXY, NO_PROXY, as in Docker and Go."""

import base64
import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec

from wherry.registry.errors import RegistryError, one_line
from wherry.registry.hosts import is_loopback
from wherry.registry.url import Url

_PORTS = {"http": 80, "https": 443}


class Proxy(msgspec.Struct, frozen=True):
    """A server that passes requests on."""

    host: str
    """Without brackets."""
    port: int
    secure: bool = False
    """It is spoken to in TLS itself."""
    headers: tuple[tuple[str, str], ...] = ()
    """What it wants to be sent: a login."""


def proxy_for(url: Url, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy for `url`, or None. This very machine is never behind one.

    Raises RegistryError if what is configured is none.
    """
    name = f"{url.scheme}_proxy"
    proxy = environment.get(name.upper()) or environment.get(name)
    if not proxy or is_loopback(url.host):
        return None
    exceptions = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    if any(_excepts(entry.strip().lower(), url) for entry in exceptions.split(",")):
        return None
    try:
        return _parsed(proxy if "://" in proxy else f"http://{proxy}")
    except ValueError:
        shown = one_line(proxy.rpartition("@")[2])
        raise RegistryError(
            f"HTTPS_PROXY or HTTP_PROXY names {shown!r}: only http:// and https:// are understood"
        ) from None


def _parsed(address: str) -> Proxy:
    parts = urlsplit(address)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("no proxy of HTTP")
    headers: tuple[tuple[str, str], ...] = ()
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers = (("Proxy-Authorization", f"Basic {base64.b64encode(pair).decode()}"),)
    port = parts.port or _PORTS[parts.scheme]
    return Proxy(parts.hostname, port, parts.scheme == "https", headers)


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
