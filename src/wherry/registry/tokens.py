"""Showing a registry who one is: Basic and Bearer (distribution's "Token Authentication").

What a host asked for once is remembered, and from then on sent with the first request already:
the password, or a token for the very scopes, fetched before if there is none that is still good.
"""

import base64
import threading
import time
from collections.abc import Iterable
from urllib.parse import urlencode

import msgspec

from wherry.registry.cancel import Cancel
from wherry.registry.challenge import Challenge
from wherry.registry.credentials import Credentials
from wherry.registry.errors import Denied, InvalidAnswer, Unreachable
from wherry.registry.headers import retry_after
from wherry.registry.hosts import Host
from wherry.registry.url import Url
from wherry.registry.web import Web

_CLIENT_ID = "wherry"
_MAX_ANSWER = 1 << 20
_MAX_TOKEN = 64 << 10
_USUAL_SECONDS = 60.0
"""What a token is good for when the server does not say."""
_LONGEST_SECONDS = 3600.0
_MAX_SCOPES_KEPT = 1000
_TICK = 0.1
"""Seconds after which whoever waits for another's token looks whether to go on."""
_MAX_SCOPES = 16


class _TokenAnswer(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None
    refresh_token: str | None = None


class _Way(msgspec.Struct, frozen=True):
    """What the server asked for: a password, or a token of the server at `realm`."""

    realm: Url | None = None
    service: str = ""


class _Token(msgspec.Struct, frozen=True):
    header: str
    until: float
    """By the monotonic clock."""


class Authorizer:
    """What one server gets to see of one person's credentials. Thread-safe."""

    def __init__(self, web: Web, host: Host, domain: str, credentials: Credentials) -> None:
        self._web = web
        self._host = host
        self._domain = domain
        self._credentials = credentials
        self._lock = threading.Lock()
        self._way: _Way | None = None
        self._tokens: dict[frozenset[str], _Token] = {}
        self._more: dict[frozenset[str], frozenset[str]] = {}  # what is wanted beside those
        self._turns: dict[frozenset[str], threading.Lock] = {}

    def header(self, scopes: frozenset[str], cancel: Cancel) -> str | None:
        """The `Authorization` to send with a request that needs `scopes`; None for none.

        Raises RegistryError when a token is needed and cannot be had.
        """
        if self._credentials.registry_token:
            return f"Bearer {self._credentials.registry_token}"
        way = self._way
        if way is None:
            return None
        return self._token(way, scopes, cancel).header if way.realm else self._basic()

    def learn(
        self,
        challenges: Iterable[Challenge],
        scopes: frozenset[str],
        refused: str | None,
        url: Url,
    ) -> bool:
        """Remember what `url` asks for, which answered 401 to the header `refused`.

        True if it is worth asking again with a new `header`. Raises InvalidAnswer.
        """
        if self._credentials.registry_token:
            return False
        offered = {challenge.scheme: challenge for challenge in reversed(list(challenges))}
        bearer, basic = offered.get("bearer"), offered.get("basic")
        with self._lock:
            if bearer and (realm := bearer.parameters.get("realm")):
                self._way = _Way(self._web.step(url, realm), bearer.parameters.get("service", ""))
                self._tokens = {s: t for s, t in self._tokens.items() if t.header != refused}
                asked = bearer.parameters.get("scope", "").split()[:_MAX_SCOPES]
                self._more[scopes] = frozenset(s for s in asked if not _covered(s, scopes))
                return True
            if basic and self._basic() not in (None, refused):
                self._way = _Way()
                return True
        return False

    def forget(self) -> None:
        """Let the server say anew what it asks for; tokens that are good stay."""
        with self._lock:
            self._way = None

    def identity(self, cancel: Cancel) -> str:
        """An identity token for later logins, or "" where there is no such. Raises Denied."""
        if self._way is None or self._way.realm is None:
            return ""
        return self._fetch(self._way, frozenset(), cancel, offline=True).refresh_token or ""

    def _basic(self) -> str | None:
        if not self._credentials.username and not self._credentials.password:
            return None
        pair = f"{self._credentials.username}:{self._credentials.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()

    def _token(self, way: _Way, scopes: frozenset[str], cancel: Cancel) -> _Token:
        with self._lock:
            if found := self._good(scopes):
                return found
            turn = self._turns.setdefault(scopes, threading.Lock())
        while not turn.acquire(timeout=_TICK):  # somebody fetches this very token
            cancel.check()
        try:
            with self._lock:
                if found := self._good(scopes):
                    return found
                more = self._more.get(scopes, frozenset())
            answer = self._fetch(way, scopes | more, cancel)
            text = answer.token or answer.access_token or ""
            if not text or len(text) > _MAX_TOKEN or not text.isascii() or not text.isprintable():
                raise InvalidAnswer(f"the token server of {self._domain} gives no token")
            told = answer.expires_in
            seconds = min(_USUAL_SECONDS if told is None else told, _LONGEST_SECONDS)
            # What is about to expire is not used any more: it would be refused under way.
            token = _Token(f"Bearer {text}", time.monotonic() + seconds * 0.9)
            with self._lock:
                self._tokens[scopes] = token
            return token
        finally:
            turn.release()
            with self._lock:
                self._forget_some()

    def _good(self, scopes: frozenset[str]) -> _Token | None:
        found = self._tokens.get(scopes)
        return found if found and found.until > time.monotonic() else None

    def _forget_some(self) -> None:
        if max(len(self._tokens), len(self._turns), len(self._more)) > _MAX_SCOPES_KEPT:
            self._tokens.clear()
            self._turns.clear()  # at worst, a token is fetched twice
            self._more.clear()

    def _fetch(
        self, way: _Way, scopes: frozenset[str], cancel: Cancel, offline: bool = False
    ) -> _TokenAnswer:
        assert way.realm is not None
        parameters = [("service", way.service)] if way.service else []
        headers = {}
        if self._credentials.identity_token:
            parameters += [
                ("grant_type", "refresh_token"),
                ("refresh_token", self._credentials.identity_token),
                ("client_id", _CLIENT_ID),
            ]
            if scopes:
                parameters.append(("scope", " ".join(sorted(scopes))))
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            return self._ask("POST", way.realm, headers, urlencode(parameters).encode(), cancel)
        parameters += [("scope", scope) for scope in sorted(scopes)]
        if basic := self._basic():
            headers["Authorization"] = basic
            parameters.append(("account", self._credentials.username))
        if offline:
            parameters += [("offline_token", "true"), ("client_id", _CLIENT_ID)]
        return self._ask("GET", way.realm.asking(*parameters), headers, None, cancel)

    def _ask(
        self, method: str, realm: Url, headers: dict[str, str], body: bytes | None, cancel: Cancel
    ) -> _TokenAnswer:
        name = f"the token for {self._domain}"

        def sent(url: Url) -> dict[str, str]:
            if url.origin == realm.origin:
                return headers
            if body is not None:  # an identity token is in it
                raise InvalidAnswer(
                    f"{realm.authority} sends the login for {self._domain} on to {url.authority}, "
                    "which is not followed"
                )
            return {}

        def attempt() -> _TokenAnswer:
            with self._web.follow(method, realm, sent, body, cancel, self._host) as answer:
                if answer.status == 200:
                    return answer.document(_TokenAnswer, _MAX_ANSWER, name)
                if answer.status == 429 or answer.status >= 500:
                    after = retry_after(answer.headers.get("Retry-After"))
                    raise Unreachable(
                        f"{name}: {realm.authority} answers {answer.status}",
                        again=True,
                        after=after,
                    )
                raise Denied(
                    f"{self._domain} refuses the login, {realm.authority} answers {answer.status}:"
                    f" log in with 'wherry login {self._domain}'"
                )

        return self._web.patience.persist(attempt, cancel)


def _covered(scope: str, scopes: frozenset[str]) -> bool:
    """Whether one of `scopes` allows all that `scope` does."""
    name, _, actions = scope.rpartition(":")
    for other in scopes:
        other_name, _, other_actions = other.rpartition(":")
        if name == other_name and set(actions.split(",")) <= set(other_actions.split(",")):
            return True
    return False
