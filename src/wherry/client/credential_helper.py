"""Programs that keep passwords, `docker-credential-NAME`, by the protocol they share with Docker.

A helper is run with one word, `get`, `store`, `erase` or `list`; it reads stdin and answers on
stdout, where it also says what went wrong (docker-credential-helpers, `credentials.go`).
"""

from __future__ import annotations

import subprocess

from wherry.client import json
from wherry.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREFIX = "docker-credential-"
TOKEN_USER = "<token>"  # noqa: S105
"""The name under which an identity token is kept instead of a password."""

_NOT_FOUND = b"credentials not found in native keychain"
_MAX_ANSWER = 1 << 22


class HelperFailed(ClientError):
    """The helper is not there, refused, or answered something else than the protocol says."""


class CredentialHelper:
    """The helper of one name, as `credsStore` and `credHelpers` give it."""

    def __init__(self, name: str) -> None:
        if not name or "/" in name or "\0" in name:
            raise HelperFailed(f"'{name}' is no name of a credential helper")
        self.program = PREFIX + name

    def get(self, server: str) -> tuple[str, str] | None:
        """User name and secret for a server, None when it has none. Raises `HelperFailed`."""
        code, out = self._run("get", server)
        if code and out.strip() == _NOT_FOUND:
            return None
        answer = self._object("get", code, out)
        user, secret = answer.get("Username", ""), answer.get("Secret", "")
        if not isinstance(user, str) or not isinstance(secret, str):
            raise HelperFailed(f"{self.program} get: user name and secret are no texts")
        return user, secret

    def store(self, server: str, user: str, secret: str) -> None:
        """Keeps a secret. Raises `HelperFailed`."""
        document = {"ServerURL": server, "Username": user, "Secret": secret}
        self._check("store", *self._run("store", json.encode(document)))

    def erase(self, server: str) -> None:
        """Forgets a server's secret. Raises `HelperFailed`."""
        code, out = self._run("erase", server)
        if code and out.strip() == _NOT_FOUND:
            return
        self._check("erase", code, out)

    def servers(self) -> list[str]:
        """All servers it has a secret for. Raises `HelperFailed`."""
        return list(self._object("list", *self._run("list", "unused")))

    def _run(self, action: str, text: str) -> tuple[int, bytes]:
        """Exit code and stdout. The helper may ask its person, so it takes the time it takes."""
        try:
            with subprocess.Popen(
                [self.program, action], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as process:
                assert process.stdin is not None and process.stdout is not None
                try:
                    process.stdin.write(text.encode(errors="replace"))
                    process.stdin.close()
                except BrokenPipeError:
                    pass  # It need not read what it has no use for.
                out = process.stdout.read(_MAX_ANSWER + 1)
                if len(out) > _MAX_ANSWER:
                    process.kill()
                    raise HelperFailed(f"{self.program} {action} does not stop talking")
        except FileNotFoundError:
            raise HelperFailed(
                f"{self.program} is not on the PATH; install it, or take it out of Docker's "
                "config.json"
            ) from None
        except OSError as error:
            raise HelperFailed(f"{self.program}: {error.strerror}") from error
        return process.returncode, out

    def _check(self, action: str, code: int, out: bytes) -> None:
        if code:
            said = out.decode(errors="replace").strip() or f"exit code {code}"
            raise HelperFailed(f"{self.program} {action}: {said}")

    def _object(self, action: str, code: int, out: bytes) -> dict[str, Any]:
        self._check(action, code, out)
        try:
            answer = json.decode(out)
        except json.InvalidJSON:
            answer = None
        if not isinstance(answer, dict):
            raise HelperFailed(f"{self.program} {action} did not answer with a JSON object")
        return answer
