"""Files that commands write: the whole of one or none, since others may be waiting for it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def write_file(path: str, portions: Iterable[bytes]) -> None:
    """Write a file in the place of what is there, when all of it has come. Raises OSError."""
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "xb") as file:
            for data in portions:
                file.write(data)
        os.replace(temporary, path)
    except BaseException as error:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename = path  # the one that the person named
        raise
