"""Reading all compiled code and comparing it with what was written down when it was stored."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from wherry.runtime.facts import Entry, mode_of


class Damage(NamedTuple):
    """A file of code that is not what was stored."""

    path: str
    what: str


def damaged(root: str) -> Iterator[Damage]:
    """The damaged code in the cache at `root`. What goes meanwhile is no fault.

    Code without its record, or a record without its code, is what a kill leaves: it is not used,
    and made anew when it is wanted.
    """
    for folder in sorted(_names(root)):
        path = f"{root}/{folder}"
        for name in sorted(_names(path)):
            if name.endswith(".json") and not name.startswith("."):
                record, code = f"{path}/{name}", f"{path}/{name.removesuffix('.json')}"
                # Once more, if need be: code may be stored anew between one look and the next.
                if _fault(record, code) and (what := _fault(record, code)):
                    yield Damage(code, what)


def remove(damage: Damage) -> None:
    """Remove damaged code, so that it is made anew: what is known of it first."""
    for path in (f"{damage.path}.json", damage.path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _fault(record: str, code: str) -> str:
    """What is wrong with a file of code; "" if nothing is."""
    try:
        with open(record, "rb") as file:
            raw = file.read()
        with open(code, "rb") as content:
            status = os.fstat(content.fileno())
            entry = msgspec.json.decode(raw, type=Entry)
            if status.st_uid != os.geteuid():
                return f"belongs to user {status.st_uid}"
            if status.st_mode & 0o777 != mode_of(entry.facts):
                return f"has the mode {status.st_mode & 0o777:o}"
            if (status.st_size, status.st_ino) != (entry.size, entry.inode):
                return "is another file than was stored"
            if hashlib.file_digest(content, "sha256").hexdigest() != entry.sha256:
                return "has other content than was stored"
    except FileNotFoundError:
        return ""
    except (msgspec.DecodeError, ValueError):
        return "has a record that cannot be read"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""
