"""Logins to registries, kept where Docker's CLI keeps them: its `config.json` and its helpers.

What `docker login` stored serves `wherry pull`, and the other way round.
"""

from __future__ import annotations

import os

from wherry.client import json
from wherry.client.docker_config import DockerConfig, InvalidConfig
from wherry.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.client.credential_helper import CredentialHelper
    from wherry.client.docker_config import Document

DEFAULT_SERVER = "https://index.docker.io/v1/"
"""The key of docker.io, for historical reasons the address of its first API."""
ENVIRONMENT = "DOCKER_AUTH_CONFIG"
"""A variable with an `auths` object that goes before all that is stored."""

_DOCKER_HUB = ("docker.io", "index.docker.io")
_SECRETS = ("auth", "username", "password", "serveraddress", "identitytoken", "registrytoken")


class Login:
    """What a registry knows a person by: a password, or tokens that were given for one."""

    __slots__ = ("identity_token", "password", "registry_token", "server", "username")

    def __init__(
        self,
        server: str = "",
        username: str = "",
        password: str = "",
        identity_token: str = "",
        registry_token: str = "",
    ) -> None:
        self.server = server
        self.username = username
        self.password = password
        self.identity_token = identity_token
        self.registry_token = registry_token

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token or self.registry_token)

    def document(self) -> dict[str, Any]:
        """The Engine API's `AuthConfig`, without what is empty."""
        fields = {
            "username": self.username,
            "password": self.password,
            "serveraddress": self.server,
            "identitytoken": self.identity_token,
            "registrytoken": self.registry_token,
        }
        return {name: value for name, value in fields.items() if value}

    def headers(self) -> tuple[str, ...]:
        """The header that pull and push carry."""
        return (f"X-Registry-Auth: {encoded(self.document())}",)


def encoded(document: Document) -> str:
    """A document in a header: JSON in base64 with the alphabet of URLs (RFC 4648, section 5)."""
    import binascii  # from a file of its own: 0.3 ms, which no pull without a login needs

    data = binascii.b2a_base64(json.encode(document).encode(errors="replace"), newline=False)
    return data.decode().replace("+", "-").replace("/", "_")


def hostname(server: str) -> str:
    """`host[:port]` of what people type and old Dockers stored: `https://host:port/v1/`."""
    return server.partition("://")[2 if "://" in server else 0].partition("/")[0]


def key_of(domain: str) -> str:
    """The key a registry's login is stored under."""
    return DEFAULT_SERVER if domain in _DOCKER_HUB else domain


class Credentials:
    """The logins of the person who runs this command."""

    def __init__(self, config: DockerConfig | None = None) -> None:
        self.config = config or DockerConfig()

    def find(self, domain: str) -> Login:
        """The login for a registry; an empty one where there is none.

        Raises:
            InvalidConfig: `config.json` cannot be read.
            HelperFailed: the helper could not be asked.
        """
        key = key_of(domain)
        given = _from_environment().get(key)
        if given is not None:
            return given
        document = self.config.read()
        stored = self._stored(document, key)
        name = _helper(document, key)
        if not name:
            return stored
        return _from_helper(_open(name), key, stored.registry_token)

    def hosts(self) -> set[str]:
        """The hosts for which something is stored; no helper is asked.

        Raises:
            InvalidConfig: `config.json` cannot be read.
        """
        document = self.config.read()
        stored = _auths(document, self.config.path), _object(document, "credHelpers")
        return {hostname(key) for keys in (*stored, _from_environment()) for key in keys}

    def everything(self, warn: Callable[[str], None]) -> dict[str, Login]:
        """All logins by their key, for a build, which may need any of them.

        A helper that cannot be asked is told to `warn` and does without.
        """
        document = self.config.read()
        found = {key: self._stored(document, key) for key in _auths(document, self.config.path)}
        default = _helper(document, "")
        helpers = {key: str(name) for key, name in _object(document, "credHelpers").items()}
        try:
            if default:
                helpers = {**dict.fromkeys(_open(default).servers(), default), **helpers}
        except ClientError as error:
            warn(str(error))
        for key, name in helpers.items():
            try:
                found[key] = _from_helper(_open(name), key, "")
            except ClientError as error:
                warn(str(error))
        found.update(_from_environment())
        return {key: login for key, login in found.items() if login}

    def store(self, login: Login) -> str:
        """Keeps a login; returns the file a password now stands in unencrypted, or nothing.

        Raises `InvalidConfig` and `HelperFailed`.
        """
        document = self.config.read()
        name = _helper(document, login.server)
        if name:
            _into_helper(_open(name), login)
        entry = {} if name else _entry(login)
        self.config.change(lambda document: self._put(document, login.server, entry, name))
        return self.config.path if not name and login.password else ""

    def _put(self, document: Document, key: str, entry: Document, helper: str) -> bool:
        """Writes an entry of `auths`; names the helper that was found by itself, as Docker does."""
        auths = _auths(document, self.config.path)
        before = auths.get(key)
        kept = before if isinstance(before, dict) else {}
        after = {name: value for name, value in kept.items() if name not in _SECRETS} | entry
        found_by_itself = bool(helper) and not _configured(document)
        if before == after and not found_by_itself:
            return False
        auths[key] = after
        document["auths"] = auths
        if found_by_itself:
            document["credsStore"] = helper
        return True

    def erase(self, server: str) -> bool:
        """Forgets what is stored for a server, also under the keys of old Dockers.

        Returns whether there was anything. Raises `InvalidConfig` and `HelperFailed`.
        """
        keys = [server]
        if server != DEFAULT_SERVER:
            host = hostname(server)
            keys = list(dict.fromkeys((server, host, f"http://{host}", f"https://{host}")))
        document = self.config.read()
        erased = False
        for key in keys:
            name = _helper(document, key)
            if name:
                helper = _open(name)
                if helper.get(key) is not None:
                    helper.erase(key)
                    erased = True

        def forget(document: Document) -> bool:
            auths = _auths(document, self.config.path)
            forgotten = {key: auths.pop(key) for key in keys if key in auths}
            return bool(forgotten)

        known = _auths(document, self.config.path)
        if any(key in known for key in keys):
            self.config.change(forget)
            erased = True
        return erased

    def _stored(self, document: Document, key: str) -> Login:
        """What `auths` says, under its key or under an old one. Raises `InvalidConfig`."""
        auths = _auths(document, self.config.path)
        entry = auths.get(key)
        if entry is None:
            entry = next((auths[old] for old in auths if hostname(old) == key), {})
        return _login(key, entry, self.config.path)


def _auths(document: Document, path: str) -> Document:
    auths = document.get("auths") or {}
    if not isinstance(auths, dict):
        raise InvalidConfig(f"{path}: 'auths' is no object; correct it, or remove it")
    return auths


def _object(document: Document, name: str) -> Document:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _configured(document: Document) -> bool:
    """Whether the file says anything about logins."""
    return any(document.get(name) for name in ("auths", "credsStore", "credHelpers"))


def _helper(document: Document, key: str) -> str:
    """The helper for a key: its own, the general one, or, in a file without logins, the usual."""
    own = _object(document, "credHelpers").get(key)
    if isinstance(own, str):
        return own
    general = document.get("credsStore")
    if isinstance(general, str) and general:
        return general
    return "" if _configured(document) else _usual_helper()


def _usual_helper() -> str:
    """Docker's choice on Linux: `pass` where that is installed, else the desktop's keyring."""
    name = "pass" if _on_path("pass") else "secretservice"
    return name if _on_path(f"docker-credential-{name}") else ""


def _on_path(program: str) -> bool:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return any(folder and os.access(os.path.join(folder, program), os.X_OK) for folder in folders)


def _open(name: str) -> CredentialHelper:
    from wherry.client.credential_helper import CredentialHelper

    return CredentialHelper(name)


def _from_helper(helper: CredentialHelper, key: str, registry_token: str) -> Login:
    from wherry.client.credential_helper import TOKEN_USER

    user, secret = helper.get(key) or ("", "")
    if user == TOKEN_USER:
        return Login(key, identity_token=secret, registry_token=registry_token)
    return Login(key, user, secret, registry_token=registry_token)


def _into_helper(helper: CredentialHelper, login: Login) -> None:
    from wherry.client.credential_helper import TOKEN_USER

    if login.identity_token:
        helper.store(login.server, TOKEN_USER, login.identity_token)
    else:
        helper.store(login.server, login.username, login.password)


def _from_environment() -> dict[str, Login]:
    """What the variable says. Raises `InvalidConfig`."""
    text = os.environ.get(ENVIRONMENT, "")
    if not text:
        return {}
    try:
        document = json.decode(text)
    except json.InvalidJSON as error:
        raise InvalidConfig(f"${ENVIRONMENT} is not JSON") from error
    if not isinstance(document, dict):
        raise InvalidConfig(f"${ENVIRONMENT} holds no JSON object")
    auths = _auths(document, f"${ENVIRONMENT}")
    return {key: _login(key, entry, f"${ENVIRONMENT}") for key, entry in auths.items()}


def _login(key: str, entry: object, where: str) -> Login:
    """One entry of `auths`. Raises `InvalidConfig`."""
    fields = entry if isinstance(entry, dict) else {"auth": None}
    values = {name: fields.get(name) or "" for name in _SECRETS}
    if not all(isinstance(value, str) for value in values.values()) or fields != entry:
        raise InvalidConfig(f"{where}: the login for {key} is not as it should be; log in again")
    username, password = values["username"], values["password"]
    if values["auth"]:
        import binascii

        try:
            text = binascii.a2b_base64(values["auth"], strict_mode=True).decode(errors="replace")
        except ValueError:
            text = ""
        username, colon, password = text.partition(":")
        if not colon or not username:
            raise InvalidConfig(f"{where}: the login for {key} cannot be read; log in again")
        password = password.strip("\0")
    return Login(key, username, password, values["identitytoken"], values["registrytoken"])


def _entry(login: Login) -> Document:
    """An entry of `auths`, as Docker writes it."""
    entry: Document = {}
    if login.username or login.password:
        import binascii

        pair = f"{login.username}:{login.password}".encode(errors="replace")
        entry["auth"] = binascii.b2a_base64(pair, newline=False).decode()
    if login.identity_token:
        entry["identitytoken"] = login.identity_token
    if login.registry_token:
        entry["registrytoken"] = login.registry_token
    return entry
