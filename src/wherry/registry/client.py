"""The client of registries: one for an engine, for all of its transfers."""

from collections.abc import Mapping
from threading import Lock

from wherry.oci import Reference
from wherry.registry.cancel import Cancel
from wherry.registry.credentials import NOBODY, Credentials
from wherry.registry.errors import Denied, RegistryError, one_line
from wherry.registry.exchange import Exchange
from wherry.registry.file import WebFile, open_file
from wherry.registry.hosts import Host, Hosts
from wherry.registry.patience import Patience
from wherry.registry.repository import Repository
from wherry.registry.search import SearchResult, search
from wherry.registry.tokens import Authorizer
from wherry.registry.url import parse_url
from wherry.registry.web import Web

_MAX_LOGINS = 64


class Client:
    """Talks to any number of registries. Thread-safe; looks up names in threads of its own.

    `agent` is the User-Agent it goes by.
    """

    def __init__(
        self, hosts: Hosts, agent: str = "wherry", patience: Patience | None = None
    ) -> None:
        self._web = Web(hosts, agent, patience or Patience())
        self._lock = Lock()
        self._authorizers: dict[tuple[Host, Credentials], Authorizer] = {}

    def repository(
        self,
        reference: Reference,
        credentials: Credentials | None = None,
        cancel: Cancel | None = None,
        *,
        push: bool = False,
        others: Mapping[str, Credentials] | None = None,
    ) -> Repository:
        """The repository that `reference` names; tag and digest of it are not looked at.

        `credentials` are for the registry itself, `others` for its mirrors by host[:port]: each
        server sees its own only. `push` asks for tokens with which one may write.
        Raises RegistryError when the registry's configuration cannot be read.
        """
        cancel = cancel or Cancel()
        registry = self._web.hosts.registry(reference.domain)
        server = self._exchange(registry.server, reference.domain, credentials, cancel)
        mirrors = [
            self._exchange(mirror, mirror.authority, (others or {}).get(mirror.authority), cancel)
            for mirror in registry.mirrors
        ]
        return Repository(reference, server, mirrors, push)

    def mirrors(self, domain: str) -> list[str]:
        """The mirrors of a registry that are configured, by host[:port].

        Raises RegistryError when the configuration cannot be read.
        """
        return [mirror.authority for mirror in self._web.hosts.registry(domain).mirrors]

    def login(self, domain: str, credentials: Credentials, cancel: Cancel | None = None) -> str:
        """Try credentials. Returns an identity token to keep instead of the password, or "".

        Raises Denied when they are not good, RegistryError.
        """
        server = self._server(domain, credentials, cancel)
        try:
            server.ask("GET", "", f"the login at {domain}").close()
        except Denied:
            raise Denied(f"{domain} refuses this user name and password") from None
        return server.identity()

    def search(
        self,
        domain: str,
        term: str,
        limit: int,
        credentials: Credentials | None = None,
        cancel: Cancel | None = None,
    ) -> list[SearchResult]:
        """Up to `limit` images of a registry for a term. Raises RegistryError."""
        return search(self._server(domain, credentials, cancel), domain, term, limit)

    def fetch(self, url: str, cancel: Cancel | None = None) -> WebFile:
        """Open a file of the web (`http://`, `https://`), following redirects.

        A user in the address is shown to its server only. Raises RegistryError.
        """
        return open_file(self._web, url, cancel or Cancel())

    def close(self) -> None:
        """Close the connections that are kept."""
        self._web.connections.close()

    def _server(
        self, domain: str, credentials: Credentials | None, cancel: Cancel | None
    ) -> Exchange:
        host = self._web.hosts.registry(domain).server
        return self._exchange(host, domain, credentials, cancel or Cancel())

    def _exchange(
        self, host: Host, domain: str, credentials: Credentials | None, cancel: Cancel
    ) -> Exchange:
        try:
            parse_url(f"{host.scheme}://{host.authority}/")
        except ValueError as error:
            raise RegistryError(f"{one_line(domain)!r} is no registry: {error}") from None
        key = host, credentials or NOBODY
        with self._lock:
            authorizer = self._authorizers.pop(key, None)
            if authorizer is None:
                authorizer = Authorizer(self._web, host, domain, credentials or NOBODY)
            self._authorizers[key] = authorizer  # the last used is the last to be forgotten
            while len(self._authorizers) > _MAX_LOGINS:
                self._authorizers.pop(next(iter(self._authorizers)))
        return Exchange(self._web, host, domain, authorizer, cancel)
