"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container, written when it is made."""

import re
from pathlib import Path

from wherry.engine.config import ContainerConfig, HostConfig
from wherry.engine.errors import InvalidRequest

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
_WORD = re.compile(r"[A-Za-z0-9:._%-]+")


def write_network_files(bundle: Path, config: ContainerConfig, host: HostConfig) -> None:
    """Raises InvalidRequest for names or addresses that are none."""
    name = f"{config.hostname}.{config.domainname}" if config.domainname else config.hostname
    own = f"127.0.1.1\t{name}" + (f" {config.hostname}\n" if config.domainname else "\n")
    (bundle / "hosts").write_text(_HOSTS + own + "".join(_extra_hosts(host)))
    (bundle / "hostname").write_text(f"{name}\n")
    (bundle / "resolv.conf").write_text(_resolv_conf(host))


def _extra_hosts(host: HostConfig) -> list[str]:
    lines = []
    for text in host.extra_hosts or ():
        name, separator, address = text.partition("=" if "=" in text else ":")
        address = address.removeprefix("[").removesuffix("]")
        if address == "host-gateway":
            address = "127.0.0.1"
        if not separator or not _WORD.fullmatch(name) or not _WORD.fullmatch(address):
            raise InvalidRequest(f"bad format for add-host: {text!r}: expected NAME:ADDRESS")
        lines.append(f"{address}\t{name}\n")
    return lines


def _resolv_conf(host: HostConfig) -> str:
    for word in (*(host.dns or ()), *(host.dns_search or ()), *(host.dns_options or ())):
        if not _WORD.fullmatch(word):
            raise InvalidRequest(f"{word!r} cannot stand in resolv.conf")
    try:
        with _RESOLV_CONF.open("rb") as file:
            lines = file.read(_LIMIT).decode(errors="replace").splitlines(keepends=True)
    except OSError:
        lines = []
    for keyword, words in (
        ("nameserver", [[word] for word in host.dns or ()]),
        ("search", [host.dns_search] if host.dns_search else []),
        ("options", [host.dns_options] if host.dns_options else []),
    ):
        if words:
            lines = [line for line in lines if line.split()[:1] != [keyword]]
            lines += [f"{keyword} {' '.join(group)}\n" for group in words]
    return "".join(lines)
