"""Logins as clients send them: a JSON document, in a header in base64 (RFC 4648, URL-safe)."""

import base64
import binascii
from typing import TYPE_CHECKING, TypeVar

import msgspec

from wherry.engine import InvalidRequest

if TYPE_CHECKING:
    from wherry.api.call import Call
    from wherry.engine.images.credentials import Credentials

T = TypeVar("T")


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Docker's AuthConfig. `auth` is base64 of USER:PASSWORD, for clients that send it so."""

    username: str = ""
    password: str = ""
    auth: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""

    def credentials(self) -> "Credentials":
        """The same for the engine. Raises InvalidRequest."""
        from wherry.engine.images.credentials import Credentials

        username, password = self.username, self.password
        if self.auth and not username:
            try:
                text = base64.b64decode(self.auth).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise InvalidRequest("the login's auth is not base64") from None
            username, _, password = text.partition(":")
        return Credentials(username, password, self.identitytoken, self.registrytoken)


def registry_auth(call: "Call") -> "Credentials | None":
    """The login of the header X-Registry-Auth, None if there is none. Raises InvalidRequest."""
    document = _decoded(call, "X-Registry-Auth")
    if document is None:
        return None
    return _parsed(document, AuthConfig, "X-Registry-Auth").credentials() or None


def registry_config(call: "Call") -> "dict[str, Credentials]":
    """The logins of the header X-Registry-Config, by registry. Raises InvalidRequest."""
    document = _decoded(call, "X-Registry-Config")
    if document is None:
        return {}
    logins = _parsed(document, dict[str, AuthConfig], "X-Registry-Config")
    return {registry: login.credentials() for registry, login in logins.items()}


def _decoded(call: "Call", header: str) -> bytes | None:
    text = call.http.headers.get(header, "").strip()
    if not text:
        return None
    try:
        # Clients disagree about the alphabet and about the padding.
        plain = text.replace("-", "+").replace("_", "/").rstrip("=")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True) or None
    except ValueError:
        raise InvalidRequest(f"{header} is not base64") from None


def _parsed(document: bytes, kind: type[T], header: str) -> T:
    try:
        return msgspec.json.decode(document, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"{header}: {error}") from None
