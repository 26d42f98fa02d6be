"""The policy in force: the first of the files there, read again when it or a key has changed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.engine.errors import Forbidden

if TYPE_CHECKING:
    from wherry.trust import Policy

_Identity = tuple[str, int, int, int, int]


class Policies:
    """Finds the policy among `files`, the most particular first."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._known: tuple[list[Path], list[_Identity | None], Policy] | None = None

    def current(self) -> "Policy | None":
        """The policy, or None where there is no file.

        Raises Forbidden for one that cannot be followed: then nothing may run.
        """
        file = next((path for path in self._files if os.path.lexists(path)), None)
        if file is None:
            return None
        known = self._known
        if known and known[0][0] == file and known[1] == [_identity(path) for path in known[0]]:
            return known[2]
        return self._read(file)

    def _read(self, file: Path) -> "Policy":
        from wherry.trust import InvalidPolicy, read_policy

        before = _identity(file)
        try:
            policy, parts = read_policy(file)
        except InvalidPolicy as error:
            raise Forbidden(f"no image may be used, since the policy is invalid: {error}") from None
        self._known = (parts, [before, *map(_identity, parts[1:])], policy)
        return policy


def policy_files() -> list[Path]:
    """Where a policy may be: a person's own comes before the machine's."""
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return [Path(own) / "wherry" / "policy.json", Path("/etc/wherry/policy.json")]


def _identity(path: Path) -> _Identity | None:
    """Tells one state of a file from another."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (str(path), status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
