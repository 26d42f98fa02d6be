"""Where a registry's images are fetched from: containerd's `hosts.toml`, Docker's `certs.d`.

For images of DOMAIN, the folders `CERTS_D/DOMAIN` are looked at, in the order that the folders were
given; the first with a `hosts.toml` says everything (containerd's docs/hosts.md), else the first
with certificates has those (Docker's "Verify repository client with certificates"), else
`CERTS_D/_default/hosts.toml` is asked. Without any, the registry is DOMAIN itself, over HTTPS.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from wherry.durations import parse_duration
from wherry.registry.errors import RegistryError
from wherry.registry.trust import Trust
from wherry.registry.url import parse_url

DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOST = "registry-1.docker.io"
_MAX_FILE = 1 << 20
_FOLDER_NAME = re.compile(r"[0-9A-Za-z\[][0-9A-Za-z.:_~%\[\]-]{0,250}")
_LONGEST_DIAL = 600.0
"""Seconds."""
_KINDS = {str: "a text", bool: "true or false", dict: "a table"}
_ALL = frozenset({"pull", "resolve", "push"})


class Host(msgspec.Struct, frozen=True):
    """A server that is asked for images of a registry."""

    scheme: str
    """`https` or `http`."""
    authority: str
    """Host, and port if it is not the scheme's own."""
    path: str = "/v2"
    """What all of its paths begin with."""
    capabilities: frozenset[str] = _ALL
    """Of `pull` (by digest), `resolve` (by tag) and `push`."""
    trust: Trust = Trust()
    headers: tuple[tuple[str, str], ...] = ()
    """To be sent with each request to this host, and to no other."""
    file: str = ""
    """The `hosts.toml` that says all this; empty where there is none."""
    may_be_plain: bool = False
    """On this very machine, and not said to be https: plain HTTP if it speaks no TLS."""
    connect_seconds: float = 15.0
    namespace: str = ""
    """For a mirror: of which registry the images are that it is asked for (`?ns=`)."""


class Registry(msgspec.Struct, frozen=True):
    """The servers for one domain."""

    server: Host
    """The registry itself."""
    mirrors: tuple[Host, ...] = ()
    """To be asked before it, in this order, for what they can."""


class Hosts:
    """The configuration in some `certs.d` folders, read anew with every question."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.folders = tuple(folders)

    def registry(self, domain: str) -> Registry:
        """The servers for images of `domain` (host and port). Raises RegistryError."""
        own = self._existing(_folder_names(domain))
        for folder in own:
            if (file := folder / "hosts.toml").is_file():
                return _read(file, domain)
        for folder in own:
            if trust := _docker_trust(folder):
                return Registry(_itself(domain, trust))
        for folder in self._existing(["_default"]):
            if (file := folder / "hosts.toml").is_file():
                return _read(file, domain)
        return Registry(_itself(domain, Trust()))

    def elsewhere(self, authority: str) -> Host | None:
        """What is configured for a host that a registry sends one to; None if nothing is."""
        names = _folder_names(authority)
        if not any(self._existing(names)):
            return None
        return self.registry(authority).server

    def way_to_trust(self, authority: str, host: Host | None) -> str:
        """What people should do to have the signer of a certificate known, in words.

        `host` is what is configured for the server, if anything is.
        """
        if host is not None and host.file:  # nothing that lies beside is read then
            return f"name the certificate of who signed it as 'ca' of {authority} in {host.file}"
        return f"put the certificate of who signed it at {self._place(authority) / 'ca.crt'}"

    def place_for_hosts(self, domain: str) -> str:
        """The file in which people should say how a registry is reached."""
        return str(self._place(domain) / "hosts.toml")

    def _place(self, domain: str) -> Path:
        folders = self.folders or (Path("/etc/wherry/certs.d"),)
        return next(filter(_can_be_written, folders), folders[0]) / domain

    def _existing(self, names: Sequence[str]) -> list[Path]:
        found = (folder / name for folder in self.folders for name in names)
        return [folder for folder in found if folder.is_dir()]


def _can_be_written(folder: Path) -> bool:
    """Whether this user can write to the folder, or make it."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return os.access(there, os.W_OK)


def is_loopback(host: str) -> bool:
    """Whether `host` is this very machine: localhost, 127.0.0.0/8 or ::1, in brackets or not."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def split_authority(authority: str) -> tuple[str, int | None]:
    """Host without brackets, and port if there is one. Raises ValueError."""
    parts = urlsplit(f"//{authority}")
    if not parts.hostname or parts.username is not None or parts.path or parts.query:
        raise ValueError(f"{authority!r} is not a host")
    return parts.hostname, parts.port


def _folder_names(domain: str) -> list[str]:
    if not _FOLDER_NAME.fullmatch(domain):
        return []  # a host that a registry sent us to: no folder of ours is meant by `..`
    host, colon, port = domain.rpartition(":")
    if not colon or not port.isdigit():
        return [domain]
    return [domain, f"{host}_{port}_"]


def _itself(domain: str, trust: Trust) -> Host:
    authority = _DOCKER_HUB_HOST if domain == DOCKER_HUB else domain
    return Host("https", authority, trust=trust, may_be_plain=is_loopback(_host_of(authority)))


def _host_of(authority: str) -> str:
    try:
        return split_authority(authority)[0]
    except ValueError:
        return ""


def _docker_trust(folder: Path) -> Trust | None:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise RegistryError(f"cannot read {folder}: {error.strerror}") from None
    pairs = []
    for name in names:
        if name.endswith(".cert"):
            key = name.removesuffix(".cert") + ".key"
            if key not in names:
                raise RegistryError(f"{folder / name} has no key: put it beside, as {key}")
            pairs.append((str(folder / name), str(folder / key)))
    ca = tuple(str(folder / name) for name in names if name.endswith(".crt"))
    return Trust(ca=ca, client=tuple(pairs)) if ca or pairs else None


def _read(file: Path, domain: str) -> Registry:
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            raise ValueError("larger than 1 MiB")
        found = parse_hosts(data.decode(), domain, file.parent)
    except OSError as error:
        raise RegistryError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"{file}: {error}") from None
    server, *mirrors = (replace(host, file=str(file)) for host in (found.server, *found.mirrors))
    return Registry(server, tuple(mirrors))


def parse_hosts(text: str, domain: str, folder: Path) -> Registry:
    """The content of a `hosts.toml`; relative paths in it are below `folder`. Raises ValueError."""
    import tomllib  # 2 ms, which most first transfers need not spend

    document = tomllib.loads(text)
    tables = document.get("host", {})
    if not isinstance(tables, dict):
        raise ValueError("'host' is not a table: write [host.\"https://…\"]")
    address = _of(document, "server", str, "")
    server = _host(address, document, folder) if address else _itself(domain, Trust())
    if not address:
        server = _with_options(server, document, folder)
    mirrors = []
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(f"host {name!r} is not a table")
        mirror = _host(name, table, folder)
        if (mirror.scheme, mirror.authority) == (server.scheme, server.authority):
            server = mirror
        mirrors.append(replace(mirror, namespace=domain))
    return Registry(server, tuple(m for m in mirrors if m.authority != server.authority))


def _host(address: str, table: dict[str, Any], folder: Path) -> Host:
    parts = urlsplit(address if "://" in address else f"https://{address}")
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{address!r} is not the address of a server")
    split_authority(parts.netloc)
    try:
        parse_url(f"{parts.scheme}://{parts.netloc}/")
    except ValueError as error:
        raise ValueError(f"{address!r} is no address: {error}") from None
    path = parts.path.rstrip("/")
    if not _of(table, "override_path", bool, False) and not path.endswith("/v2"):
        path += "/v2"
    loopback = "://" not in address and is_loopback(parts.hostname)
    host = Host(parts.scheme, parts.netloc, path, may_be_plain=loopback)
    return _with_options(host, table, folder)


def _with_options(host: Host, table: dict[str, Any], folder: Path) -> Host:
    capabilities = _texts(table.get("capabilities", []), "capabilities")
    if unknown := set(capabilities) - _ALL:
        raise ValueError(f"unknown capabilities: {', '.join(sorted(unknown))}")
    trust = Trust(
        ca=tuple(str(folder / path) for path in _texts(table.get("ca", []), "ca")),
        client=tuple(_client_pairs(table.get("client", []), folder)),
        verify=not _of(table, "skip_verify", bool, False),
    )
    headers = [
        (name, value)
        for name, values in _of(table, "header", dict, {}).items()
        for value in _texts(values, f"header {name}")
    ]
    if any(not c.isprintable() for header in headers for part in header for c in part):
        raise ValueError("headers may not have control characters")
    return replace(
        host,
        capabilities=frozenset(capabilities) or _ALL,
        trust=trust,
        headers=tuple(headers),
        connect_seconds=_seconds(table.get("dial_timeout", "15s")),
    )


def _client_pairs(value: Any, folder: Path) -> list[tuple[str, str]]:
    """`client = "both.pem"`, `["both.pem", …]` or `[["cert.pem", "key.pem"], …]`."""
    entries = value if isinstance(value, list) else [value]
    pairs = []
    for entry in entries:
        files = [str(folder / path) for path in _texts(entry, "client")]
        if not 1 <= len(files) <= 2:
            raise ValueError("'client' is not a file nor a pair of certificate and key")
        pairs.append((files[0], files[-1]))
    return pairs


def _texts(value: Any, name: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) and "\0" not in one for one in values):
        raise ValueError(f"{name!r} is not a text or a list of such")
    return values


def _of(table: dict[str, Any], name: str, kind: type[Any], default: Any) -> Any:
    value = table.get(name, default)
    if not isinstance(value, kind):
        raise ValueError(f"{name!r} is not {_KINDS[kind]}")
    return value


def _seconds(value: Any) -> float:
    """A duration of Go's: `500ms`, `10s`."""
    try:
        seconds = parse_duration(value if isinstance(value, str) else "") / 1e9
        if 0 < seconds <= _LONGEST_DIAL:
            return seconds
    except ValueError:
        pass
    raise ValueError(f"dial_timeout {value!r} is not a duration up to 10m, as '5s'")
