"""Who is called what, in which network."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

from wherry.network.model import Sandbox

Address = IPv4Address | IPv6Address


class Names:
    """The names of all containers. A name is compared in lower case, without a dot at its end."""

    def __init__(self) -> None:
        self._sandboxes: dict[str, Sandbox] = {}
        # Network, name, container: its addresses there.
        self._addresses: dict[str, dict[str, dict[str, list[Address]]]] = {}
        # Network, address: container and network by name.
        self._owners: dict[str, dict[Address, str]] = {}

    def put(self, sandbox: Sandbox) -> None:
        """Know a container by the names that it has now, and no others."""
        self.remove(sandbox.id)
        self._sandboxes[sandbox.id] = sandbox
        for network, name, attached in _entries(sandbox):
            containers = self._addresses.setdefault(network, {}).setdefault(name, {})
            containers.setdefault(sandbox.id, []).extend(attached)
        for attachment in sandbox.attachments:
            if attachment.network.names:
                owners = self._owners.setdefault(attachment.network.id, {})
                for address in _parse(attachment.addresses):
                    owners[address] = f"{sandbox.name}.{attachment.network.name}"

    def remove(self, id: str) -> None:
        """Forget a container, which need not be known."""
        sandbox = self._sandboxes.pop(id, None)
        if sandbox is None:
            return
        for network, name, _ in _entries(sandbox):
            names = self._addresses.get(network, {})
            containers = names.get(name, {})
            containers.pop(id, None)
            if not containers:
                names.pop(name, None)
        for attachment in sandbox.attachments:
            network = attachment.network.id
            owners = self._owners.get(network, {})
            for address in _parse(attachment.addresses):
                owners.pop(address, None)
            for table in (self._addresses, self._owners):
                if not table.get(network, True):
                    del table[network]

    def lookup(self, id: str, name: str) -> list[Address] | None:
        """The addresses that `name` has for a container, None if it is no name of ours.

        Those in the first of its networks where there is such a name; `name.network` is a name,
        too.
        """
        sandbox = self._sandboxes.get(id)
        if sandbox is None:
            return None
        if (own := _hosts(sandbox).get(name)) is not None:
            return [own]
        bare, _, suffix = name.rpartition(".")
        for attachment in sandbox.attachments:
            names = self._addresses.get(attachment.network.id, {})
            found = names.get(name)
            if found is None and suffix == attachment.network.name.lower():
                found = names.get(bare)
            if found is not None:
                return [address for addresses in found.values() for address in addresses]
        return None

    def reverse(self, id: str, address: Address) -> str | None:
        """Who has `address` in a network of the container `id`: NAME.NETWORK."""
        sandbox = self._sandboxes.get(id)
        for attachment in sandbox.attachments if sandbox else ():
            owner = self._owners.get(attachment.network.id, {}).get(address)
            if owner is not None:
                return owner
        return None


def canonical(name: str) -> str:
    """A name as it is compared."""
    return name.removesuffix(".").lower()


def _entries(sandbox: Sandbox) -> Iterator[tuple[str, str, list[Address]]]:
    for attachment in sandbox.attachments:
        if attachment.network.names:
            addresses = _parse(attachment.addresses)
            for name in {canonical(name) for name in attachment.names}:
                yield attachment.network.id, name, addresses


def _parse(addresses: Iterable[str]) -> list[Address]:
    return [ip_interface(text).ip for text in addresses]


def _hosts(sandbox: Sandbox) -> dict[str, Address]:
    return {canonical(name): ip_address(text) for name, text in sandbox.hosts.items()}
