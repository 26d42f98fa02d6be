"""Files that commands write: the whole of one or none, since others may be waiting for it."""

from __future__ import annotations

import os
from stat import S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def write_file(path: str, portions: Iterable[bytes]) -> None:
    """Write a file in the place of what is there, when all of it has come. Raises OSError.

    A link stays one: its target is replaced. What is no file (/dev/null, a FIFO) is written to.
    """
    if os.path.exists(path) and not S_ISREG(os.stat(path).st_mode):
        with open(path, "wb") as file:
            file.writelines(portions)
        return
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}.part"
    try:
        with open(temporary, "xb") as file:
            file.writelines(portions)
        os.replace(temporary, target)
    except BaseException as error:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename = path  # the one that the person named
        raise
