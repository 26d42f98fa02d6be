"""What a bundle tells of its Linux container, for who cleans up when the shim was killed."""

import contextlib
import os

import msgspec

from wherry.runtime.linux import NOTE


class Note(msgspec.Struct, omit_defaults=True):
    """Which runtime has the container, and what it was told."""

    program: str
    systemd_cgroup: bool = False
    root: str | None = None
    """The root filesystem, if it was mounted for this container."""


def leave(bundle: str, note: Note) -> None:
    """Write it. Raises OSError."""
    path = f"{bundle}/{NOTE}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    try:
        os.symlink(msgspec.json.encode(note).decode(), path)
    except OSError as error:  # names the note itself as well, which is no file
        raise OSError(error.errno, error.strerror, path) from None


def find(bundle: str) -> Note | None:
    """Read it; None if there is none that can be read."""
    try:
        return msgspec.json.decode(os.readlink(f"{bundle}/{NOTE}"), type=Note)
    except (OSError, msgspec.DecodeError):
        return None


def forget(bundle: str) -> None:
    """The container is deleted."""
    with contextlib.suppress(OSError):
        os.unlink(f"{bundle}/{NOTE}")
