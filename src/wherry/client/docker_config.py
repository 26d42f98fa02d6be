"""Docker's own `config.json`: read with care, changed without losing what others keep in it."""

from __future__ import annotations

import os

from wherry.client import json
from wherry.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Document = dict[str, Any]

MAX_CONFIG = 1 << 22
"""The most bytes a `config.json` may have."""


class InvalidConfig(ClientError):
    """The file is there, and cannot be used."""


def config_path() -> str:
    """`$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return os.path.join(folder, "config.json")


class DockerConfig:
    """One such file; it is read anew each time, since others write it as well."""

    def __init__(self, path: str = "") -> None:
        self.path = path or config_path()

    def read(self) -> Document:
        """The document, empty when there is no file. Raises `InvalidConfig`."""
        try:
            with open(self.path, "rb") as file:
                data = file.read(MAX_CONFIG + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise InvalidConfig(f"{self.path}: {error.strerror}") from error
        if len(data) > MAX_CONFIG:
            raise InvalidConfig(f"{self.path} is longer than {MAX_CONFIG} bytes")
        try:
            document = json.decode(data) if data.strip() else {}
        except json.InvalidJSON as error:
            # What is in it is not shown: it may be a password.
            raise InvalidConfig(f"{self.path} is not JSON; correct it, or remove it") from error
        if not isinstance(document, dict):
            raise InvalidConfig(f"{self.path} holds no JSON object; correct it, or remove it")
        return document

    def change(self, change: Callable[[Document], bool]) -> None:
        """Applies a change to the document and writes it if that returns True.

        All other keys stay, in their order. The file is replaced in one step, readable by its
        owner alone; where it is a symbolic link, its target is replaced. Two of these at once
        come one after the other. Raises `InvalidConfig`.
        """
        path = os.path.realpath(self.path)
        folder = os.path.dirname(path)
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
                document = self.read()
                if change(document):
                    _replace(path, json.indent(json.encode(document), "\t").encode())
                    os.fsync(lock)
            finally:
                os.close(lock)
        except OSError as error:
            reason = f"{error.filename or path}: {error.strerror}"
            raise InvalidConfig(f"cannot change {self.path}: {reason}") from error


def _replace(path: str, data: bytes) -> None:
    """Puts new content in the place of a file, in one step; an owner other than us stays owner."""
    temporary = f"{path}.wherry-part"
    # Only one of us gets here at a time: what lies there is of one that was killed.
    if os.path.lexists(temporary):
        os.unlink(temporary)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            _keep_owner(path, descriptor)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _keep_owner(path: str, descriptor: int) -> None:
    """With sudo, the file of the person shall not become root's."""
    try:
        status = os.stat(path)
        if status.st_uid != os.geteuid():
            os.fchown(descriptor, status.st_uid, status.st_gid)
    except OSError:
        return
