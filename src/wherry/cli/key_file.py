"""Files with keys that people name on the command line."""

from __future__ import annotations

from typing import TypeVar

from wherry.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

Key = TypeVar("Key")


def read_key(path: str, read: Callable[[bytes], Key]) -> Key:
    """What `read` of the room `trust` makes of a file. Raises `CommandError` and OSError."""
    from wherry.trust import MAX_KEY, TrustError

    with open(path, "rb") as file:
        data = file.read(MAX_KEY + 1)
    try:
        return read(data)
    except TrustError as error:
        raise CommandError(str(error)) from None
