"""The policy in force: the first of the files there, read again when it or a key has changed."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wherry.engine.errors import Forbidden
from wherry.places import config_folders

if TYPE_CHECKING:
    from wherry.trust import Policy

_SETTLED = 1_000_000_000
"""Nanoseconds after a change in which the clock of files may not tell it from another one."""


class Policies:
    """Finds the policy among `files`, the most particular first."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._known: _Known | None = None

    def stands(self, fingerprint: str) -> bool:
        """Whether the policy in force is surely that one, or there is none; reads no file."""
        file = self._first()
        known = self._known
        return file is None or (
            known is not None
            and known.file == file
            and known.policy.fingerprint == fingerprint
            and known.stands()
        )

    def current(self) -> "Policy | None":
        """The policy, or None where there is no file.

        Raises Forbidden for one that cannot be followed: then nothing may run.
        """
        file = self._first()
        if file is None:
            return None
        known = self._known
        if known is None or known.file != file or not known.stands():
            self._known = known = _Known.read(file)
        return known.policy

    def _first(self) -> Path | None:
        return next((path for path in self._files if os.path.lexists(path)), None)


class _Known(msgspec.Struct, frozen=True):
    """A policy as it was read, and from what."""

    file: Path
    policy: "Policy"
    parts: dict[Path, os.stat_result]
    read_at: int

    @classmethod
    def read(cls, file: Path) -> "_Known":
        """Raises Forbidden."""
        from wherry.trust import InvalidPolicy, read_policy

        now = time.time_ns()
        try:
            policy, parts = read_policy(file)
        except InvalidPolicy as error:
            raise Forbidden(f"no image may be used, since the policy is invalid: {error}") from None
        return cls(file, policy, parts, now)

    def stands(self) -> bool:
        """Whether all files are as they were, and had been so for long enough to tell."""
        try:
            return all(
                _state(os.stat(path)) == _state(before)
                and before.st_ctime_ns < self.read_at - _SETTLED
                for path, before in self.parts.items()
            )
        except OSError:
            return False


def _state(status: os.stat_result) -> tuple[int, ...]:
    """Tells one state of a file from another."""
    return (
        status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size,
    )  # fmt: skip


def policy_files() -> list[Path]:
    """Where a policy may be: a person's own comes before the machine's."""
    return [Path(place) / "policy.json" for place in config_folders()]
