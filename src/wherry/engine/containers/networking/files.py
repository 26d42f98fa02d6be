"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container, written before each start."""

import os
import re
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from wherry.engine.config import ContainerConfig, HostConfig
from wherry.engine.errors import InvalidRequest

HOST_GATEWAY = "host-gateway"
"""In `--add-host`: the address by which the container reaches its host."""

RESOLVER = "127.0.0.11"
"""Where a container with a network asks for names, as in Docker."""

_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_RESOLV_CONF = Path("/etc/resolv.conf")
_LIMIT = 64 << 10
_WORD = re.compile(r"[A-Za-z0-9:._%-]+", re.ASCII)
_LOOPBACK = "127.0.0.1"
_OTHERWISE = ("ndots:", "edns0", "trust-ad")


def check_network_files(host: HostConfig) -> None:
    """Raises InvalidRequest for names or addresses that are none."""
    extra_hosts(host, _LOOPBACK)
    for word in (*(host.dns_search or ()), *(host.dns_options or ())):
        if not _WORD.fullmatch(word):
            raise InvalidRequest(f"{word[:80]!r} cannot stand in resolv.conf")
    for text in host.dns or ():
        try:
            ip_address(text)
        except ValueError:
            raise InvalidRequest(f"invalid IP address of a DNS server: {text[:80]!r}") from None


def extra_hosts(host: HostConfig, gateway: str) -> list[tuple[str, str]]:
    """Names of `--add-host` and their addresses; `gateway` is the host's. Raises InvalidRequest."""
    found = []
    for text in host.extra_hosts or ():
        name, separator, address = text.partition("=" if "=" in text else ":")
        address = address.removeprefix("[").removesuffix("]")
        if address == HOST_GATEWAY:
            address = gateway
        if not separator or not _WORD.fullmatch(name) or not _is_address(address):
            raise InvalidRequest(f"bad format for add-host: {text[:80]!r}: expected NAME:ADDRESS")
        found.append((name, address))
    return found


def write_hosts(
    folder: Path,
    config: ContainerConfig,
    addresses: Sequence[str],
    others: Sequence[tuple[str, str]],
) -> None:
    """`addresses` are the container's own, `others` names and theirs.

    A container may have the file open or bound: it is written in its place.
    """
    name = _full_name(config)
    own = f"{name} {config.hostname}" if config.domainname else name
    lines = [f"{address}\t{each}\n" for each, address in others]
    lines += [f"{address}\t{own}\n" for address in addresses]
    _write(folder / "hosts", _HOSTS + "".join(lines))


def write_hostname(folder: Path, config: ContainerConfig) -> None:
    """The name that people gave it, or the beginning of its id."""
    _write(folder / "hostname", f"{_full_name(config)}\n")


def write_resolv_conf(folder: Path, host: HostConfig, *, internal: bool) -> None:
    """The host's, and what was asked for instead; `internal` has the engine's resolver asked.

    That one is told of `--dns`, and whatever the host asks otherwise, itself.
    """
    servers, options = list(host.dns or ()), list(host.dns_options or ())
    if internal:
        servers = [RESOLVER]
        if not any(option.startswith("ndots:") for option in options):
            options = [*(options or _options()), "ndots:0"]
    # A search list of "." is how people say that there is none.
    search = [word for word in host.dns_search or () if word != "."]
    lines = _lines()
    for keywords, given, words in (
        (("nameserver",), servers, [[word] for word in servers]),
        (("search", "domain"), host.dns_search, [search] if search else []),
        (("options",), options, [options]),
    ):
        if given:
            lines = [line for line in lines if not line.split() or line.split()[0] not in keywords]
            lines += [f"{keywords[0]} {' '.join(group)}\n" for group in words]
    _write(folder / "resolv.conf", "".join(lines))


def _full_name(config: ContainerConfig) -> str:
    return f"{config.hostname}.{config.domainname}" if config.domainname else config.hostname


def _lines() -> list[str]:
    """Of the host's resolv.conf, each with its end."""
    try:
        with _RESOLV_CONF.open("rb") as file:
            text = file.read(_LIMIT).decode(errors="replace")
    except OSError:
        return []
    return [f"{line}\n" for line in text.splitlines()]


def _options() -> list[str]:
    """The host's own options, but for what is different with a resolver on this machine."""
    words = [line.split()[1:] for line in _lines() if line.split()[:1] == ["options"]]
    return [word for group in words for word in group if not word.startswith(_OTHERWISE)]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _write(path: Path, text: str) -> None:
    data = text.encode()
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path, flags, 0o644)
    try:
        # Not emptied first: a guest that reads meanwhile sees the old names or the new.
        os.pwrite(file, data, 0)
        os.ftruncate(file, len(data))
    finally:
        os.close(file)
