"""Any server on the web, for who has to follow where a registry sends one."""

from collections.abc import Callable, Mapping

from wherry.registry.answer import Answer
from wherry.registry.cancel import Cancel
from wherry.registry.connection import UnknownAuthority
from wherry.registry.connections import Body, Connections
from wherry.registry.errors import InvalidAnswer, Unreachable
from wherry.registry.greeting import is_plain
from wherry.registry.hosts import Host, Hosts
from wherry.registry.patience import Patience
from wherry.registry.trust import Trust
from wherry.registry.url import Url

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEPING_THE_METHOD = frozenset({307, 308})
_CONNECT_SECONDS = 15.0


class Web:
    """Shared by all requests of a client: connections, configuration, what was learnt."""

    def __init__(self, hosts: Hosts, agent: str, patience: Patience) -> None:
        self.hosts = hosts
        self.patience = patience
        self.connections = Connections()
        self.plain: set[str] = set()
        """Servers on this very machine that turned out to speak no TLS."""
        self._greeted: set[str] = set()
        self._agent = agent

    def turns_out_plain(self, host: Host, url: Url, cancel: Cancel) -> bool:
        """Whether a server that may speak plain HTTP does. Each is asked once. Raises Abandoned."""
        if not host.may_be_plain or host.authority in self._greeted:
            return False
        plain = is_plain(url.host, url.port, host.connect_seconds, cancel)
        if plain:
            self.plain.add(host.authority)
        self._greeted.add(host.authority)
        return plain

    def follow(
        self,
        method: str,
        url: Url,
        headers: Callable[[Url], Mapping[str, str]],
        body: Body,
        cancel: Cancel,
        host: Host | None = None,
    ) -> Answer:
        """Send a request, and follow where it is redirected to.

        `headers` says what to send to each address on the way. `host` is what is configured for
        the first. Raises RegistryError.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            answer = self._send(method, url, headers(url), body, cancel, host)
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not target:
                return answer
            if method not in ("GET", "HEAD") and answer.status not in _KEEPING_THE_METHOD:
                return answer
            answer.close()
            url = self.step(url, target)
        raise InvalidAnswer(f"{url.authority} redirects more than {_MAX_REDIRECTS} times")

    def _send(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        body: Body,
        cancel: Cancel,
        host: Host | None,
    ) -> Answer:
        configured = host
        if host is None or url.authority != host.authority:
            configured = self.hosts.elsewhere(url.authority)
        if configured is not None:
            trust, seconds = configured.trust, configured.connect_seconds
        else:
            # Who signed a registry's certificate is believed about the stores it sends one to, as
            # in Docker. Our own certificate is shown to nobody but the registry.
            trust, seconds = Trust(ca=host.trust.ca if host else ()), _CONNECT_SECONDS
        try:
            return self.connections.request(
                method,
                url,
                {"User-Agent": self._agent, **headers},
                body,
                trust,
                cancel,
                seconds,
            )
        except UnknownAuthority as error:
            way = self.hosts.way_to_trust(url.authority, configured)
            raise Unreachable(f"{error}: {way}") from None

    def step(self, url: Url, target: str) -> Url:
        """Where `target` leads from `url`. Raises InvalidAnswer where nobody should go."""
        location = url.joined(target)
        if url.scheme == "https" and location.scheme == "http":
            configured = self.hosts.elsewhere(location.authority)
            if configured is None or configured.scheme != "http":
                raise InvalidAnswer(
                    f"{url.authority} sends one from https to http://{location.authority}:"
                    " that is only followed to hosts that a hosts.toml has as http://"
                )
        return location
