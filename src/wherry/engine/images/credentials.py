"""Who asks for a transfer, towards which registry."""

from collections.abc import Mapping
from types import MappingProxyType

from wherry.registry import Credentials

__all__ = ["NOBODY", "Credentials", "by_host", "credentials_for"]

NOBODY: Mapping[str, Credentials] = MappingProxyType({})
"""No login for anybody."""

_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


def credentials_for(known: Mapping[str, Credentials], domain: str) -> Credentials | None:
    """Of those that a client sent with a build, by the registry's address as Docker writes it."""
    wanted = _DOCKER_HUB if domain in _DOCKER_HUB else {domain}
    for address, credentials in known.items():
        if host_of(address) in wanted:
            return credentials
    return None


def by_host(known: Mapping[str, Credentials]) -> dict[str, Credentials]:
    """Those that a client sent, for the mirrors of the registry that is asked."""
    return {host_of(address): credentials for address, credentials in known.items()}


def host_of(address: str) -> str:
    """The host and port of a registry's address, which may be a URL: Docker's for its hub is."""
    host = address.partition("://")[2] or address
    return host.partition("/")[0]
