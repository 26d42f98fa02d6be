"""Requests to one server of a registry: with login, and again after what may pass.

Credentials and configured headers go to the server that they are for and to no other: not to the
stores that blobs are redirected to, and not to another port or scheme of the same machine.
"""

from collections.abc import Collection, Mapping

import msgspec

from wherry.registry.answer import Answer
from wherry.registry.cancel import Cancel
from wherry.registry.challenge import parse_challenges
from wherry.registry.connection import NotTls
from wherry.registry.connections import Body
from wherry.registry.errors import Abandoned, InvalidAnswer, RegistryError
from wherry.registry.headers import warnings
from wherry.registry.hosts import Host, split_authority
from wherry.registry.refusal import refusal
from wherry.registry.tokens import Authorizer
from wherry.registry.url import Url
from wherry.registry.web import Web

_MAX_WARNINGS = 16
_PORTS = {"https": 443, "http": 80}


class Exchange:
    """Asks one server, as one person, until `cancel`."""

    def __init__(
        self, web: Web, host: Host, domain: str, authorizer: Authorizer, cancel: Cancel
    ) -> None:
        self.host = host
        self.cancel = cancel
        self.patience = web.patience
        self._web = web
        self._domain = domain
        self._authorizer = authorizer
        self.warnings: dict[str, None] = {}
        """What the server wanted people to know, in its order."""

    def url(self, path: str, *query: tuple[str, str]) -> Url:
        """The address of `path` below the server's `/v2/`."""
        host = self.host
        plain = host.may_be_plain and host.authority in self._web.plain
        scheme = "http" if plain else host.scheme
        name, port = split_authority(host.authority)
        url = Url(scheme, name, port or _PORTS[scheme], f"{host.path}/{path}")
        return url.asking(*query, *([("ns", host.namespace)] if host.namespace else []))

    def ask(
        self,
        method: str,
        where: str | Url,
        name: str,
        scopes: Collection[str] = (),
        *,
        expect: Collection[int] = (200,),
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        tries: int | None = None,
    ) -> Answer:
        """The answer to a request, of a status among `expect`.

        `where` is a path below `/v2/`, or an address that the server gave. `name` says in errors
        what was asked for. Raises RegistryError.
        """

        def attempt() -> Answer:
            answer = self._authorised(method, where, frozenset(scopes), dict(headers or {}), body)
            ours = answer.url.authority == self.host.authority
            if ours and len(self.warnings) < _MAX_WARNINGS:
                self.warnings.update(dict.fromkeys(warnings(answer.headers.get("Warning"))))
            if answer.status in expect:
                return answer
            # A store that refuses what the registry sent us for takes no login.
            raise refusal(answer, name, self._domain if ours else "")

        return self.patience.persist(attempt, self.cancel, tries)

    def identity(self) -> str:
        """An identity token in place of the password, if the server's token server gives such."""
        return self._authorizer.identity(self.cancel)

    def location(self, answer: Answer, otherwise: Url | None = None) -> Url:
        """Where an answer says to go on. Raises InvalidAnswer."""
        target = answer.headers.get("Location")
        if target is None and otherwise is not None:
            return otherwise
        if not target:
            raise InvalidAnswer(f"{answer.url.authority} does not say where to upload to")
        own, there = self.url(""), answer.url.joined(target)
        if there.host == own.host and there.scheme != own.scheme == "https":
            # A registry behind a proxy that ends TLS often does not know of it.
            return msgspec.structs.replace(own, target=there.target)
        return self._web.step(answer.url, target)

    def _authorised(
        self,
        method: str,
        where: str | Url,
        scopes: frozenset[str],
        headers: dict[str, str],
        body: Body,
    ) -> Answer:
        try:
            header = self._header(scopes)
        except Abandoned:
            raise
        except RegistryError:
            header = None  # what it asked for once need not be what it asks for now
        answer = self._followed(method, where, headers, header, body)
        if answer.status != 401 or answer.url.authority != self.host.authority:
            return answer
        challenges = parse_challenges(answer.headers.get("WWW-Authenticate", ""))
        if not self._authorizer.learn(challenges, scopes, header, answer.url):
            return answer
        answer.close()
        return self._followed(method, where, headers, self._header(scopes), body)

    def _header(self, scopes: frozenset[str]) -> str | None:
        """See `Authorizer.header`; what it cannot give is asked for no more, unless once again."""
        try:
            return self._authorizer.header(scopes, self.cancel)
        except RegistryError:
            self._authorizer.forget()
            raise

    def _followed(
        self,
        method: str,
        where: str | Url,
        headers: dict[str, str],
        authorization: str | None,
        body: Body,
    ) -> Answer:
        own = self.url("").origin

        def sent(url: Url) -> Mapping[str, str]:
            if url.origin != own:
                return headers
            login = {"Authorization": authorization} if authorization else {}
            return {**headers, **dict(self.host.headers), **login}

        url = where if isinstance(where, Url) else self.url(where)
        ours = url.origin == own and url.scheme == "https"
        if ours and self._web.turns_out_plain(self.host, url, self.cancel):
            plain = msgspec.structs.replace(url, scheme="http")
            return self._followed(method, plain, headers, authorization, body)
        try:
            return self._web.follow(method, url, sent, body, self.cancel, self.host)
        except NotTls:
            if not ours:
                raise
            if not self.host.may_be_plain:
                file = self._web.hosts.place_for_hosts(self._domain)
                raise NotTls(
                    f"{self.host.authority} does not speak TLS: if it speaks plain HTTP, "
                    f"say so by 'server = \"http://{self.host.authority}\"' in {file}"
                ) from None
        self._web.plain.add(self.host.authority)
        plain = msgspec.structs.replace(url, scheme="http")
        return self._followed(method, plain, headers, authorization, body)
