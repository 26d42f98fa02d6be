"""Secrets of builds: sent before the build, kept in memory only, handed out once."""

import asyncio
import base64
import binascii
import secrets
from collections.abc import Mapping

import msgspec

from wherry.engine.errors import InvalidRequest, NotFound

_MAX_SECRET = 500 << 10
"""Bytes of one, as in BuildKit."""
_MAX_SECRETS = 64
_MAX_WAITING = 64
"""Sets of secrets whose build has not begun."""
_LIFETIME = 60.0
"""Seconds until a build has to begin."""


class SecretsToken(msgspec.Struct, rename="pascal"):
    """What a build names its secrets by."""

    token: str


class BuildSecrets:
    """Secrets that wait for their builds."""

    def __init__(self) -> None:
        self._waiting: dict[str, Mapping[str, bytes]] = {}

    def put(self, encoded: Mapping[str, str]) -> SecretsToken:
        """Keep secrets, by id, in base64, for a minute. Raises InvalidRequest."""
        if len(encoded) > _MAX_SECRETS:
            raise InvalidRequest(f"a build has {_MAX_SECRETS} secrets at most")
        if len(self._waiting) >= _MAX_WAITING:
            raise InvalidRequest("too many builds with secrets are about to begin: try again later")
        decoded = {id: _decode(id, text) for id, text in encoded.items()}
        token = secrets.token_hex(32)
        self._waiting[token] = decoded
        asyncio.get_running_loop().call_later(_LIFETIME, self._waiting.pop, token, None)
        return SecretsToken(token)

    def take(self, token: str) -> Mapping[str, bytes]:
        """The secrets of that token, which is worth nothing from here on. Raises NotFound."""
        if not token:
            return {}
        try:
            return self._waiting.pop(token)
        except KeyError:
            raise NotFound("the build's secrets are not there any more: send them again") from None


def _decode(id: str, text: str) -> bytes:
    if len(text) > 2 * _MAX_SECRET:
        data = bytes(_MAX_SECRET + 1)
    else:
        try:
            data = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise InvalidRequest(f"the secret {id!r} is not in base64") from None
    if len(data) > _MAX_SECRET:
        raise InvalidRequest(f"the secret {id!r} is larger than {_MAX_SECRET >> 10} KiB")
    return data
