"""A token server for docker-registry: who asks gets a signed token for what they may do.

As in distribution's "Token Authentication Specification": GET with a password, POST with a refresh
token (which it gives to who asks for `offline_token`), and anonymous tokens for pulling `public/`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tests.registries.authority import Pair

ISSUER = "wherry-tests"
SERVICE = "registry of the tests"


@dataclass
class Asked:
    """One request for a token."""

    method: str
    scopes: list[str]
    account: str
    """Who asked; empty for anonymous."""
    authorization: str


@dataclass
class TokenServer:
    """Signs tokens with `pair`, which the registry has in its `rootcertbundle`.

    Refuses every user but those of `users`. `asked` has what it was asked for, in order.
    """

    pair: Pair
    users: dict[str, str]
    lifetime: int = 300
    """Seconds."""
    hidden: set[str] = field(default_factory=set)
    """Repositories that nobody may do anything with."""
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._asked = Event()
        self._free = Event()
        self._free.set()

    def __enter__(self) -> TokenServer:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                server._answer(self, *server._by_password(self, query))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                server._answer(self, *server._by_form(self, parse_qs(body)))

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._free.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def realm(self) -> str:
        """The address that registries send their clients to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/token?from=registry"

    @contextlib.contextmanager
    def held(self) -> Iterator[Event]:
        """Have whoever asks wait until `release` or the end; the event is set when one does."""
        self._asked.clear()
        self._free.clear()
        try:
            yield self._asked
        finally:
            self._free.set()

    def release(self) -> None:
        """Answer again."""
        self._free.set()

    def _by_password(
        self, request: BaseHTTPRequestHandler, query: dict[str, list[str]]
    ) -> tuple[int, dict[str, Any]]:
        given = request.headers.get("Authorization", "")
        account = ""
        if given:
            account, _, password = base64.b64decode(given.split()[1]).decode().partition(":")
        scopes = [part for scope in query.get("scope", []) for part in scope.split()]
        self.asked.append(Asked("GET", scopes, account, given))
        if query.get("service") != [SERVICE]:
            return 400, {"details": f"what service is {query.get('service')}?"}
        if given and self.users.get(account) != password:
            return 401, {"details": "incorrect username or password"}
        answer = {"token": self.token(account, scopes), "expires_in": self.lifetime}
        if account and query.get("offline_token") == ["true"]:
            answer["refresh_token"] = f"refresh {account}"
        return 200, answer

    def _by_form(
        self, request: BaseHTTPRequestHandler, form: dict[str, list[str]]
    ) -> tuple[int, dict[str, Any]]:
        scopes = [part for scope in form.get("scope", []) for part in scope.split()]
        refresh = form.get("refresh_token", [""])[0]
        account = refresh.removeprefix("refresh ")
        self.asked.append(Asked("POST", scopes, account, request.headers.get("Authorization", "")))
        if form.get("grant_type") != ["refresh_token"] or account not in self.users:
            return 401, {"error": "invalid_grant"}
        token = self.token(account, scopes)
        return 200, {"access_token": token, "expires_in": self.lifetime, "refresh_token": refresh}

    def token(self, account: str, scopes: Iterable[str]) -> str:
        """A JWT for what of `scopes` the account may do: anonymous may pull `public/` only."""
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            granted = actions.split(",") if account else []
            if not account and name.startswith("public/"):
                granted = ["pull"]
            if name in self.hidden:
                granted = []
            access.append({"type": kind, "name": name, "actions": granted})
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": account, "aud": SERVICE, "exp": now + max(self.lifetime, 60),
            "nbf": now - 10, "iat": now, "jti": f"{time.monotonic_ns()}", "access": access,
        }  # fmt: skip
        return self._signed(claims)

    def _signed(self, claims: dict[str, Any]) -> str:
        certificate = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())
        chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]
        head = {"typ": "JWT", "alg": "ES256", "x5c": chain}
        signed = f"{_encoded(json.dumps(head).encode())}.{_encoded(json.dumps(claims).encode())}"
        key = serialization.load_pem_private_key(self.pair.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def _answer(
        self, request: BaseHTTPRequestHandler, status: int, document: dict[str, Any]
    ) -> None:
        self._asked.set()
        self._free.wait()
        body = json.dumps(document).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
