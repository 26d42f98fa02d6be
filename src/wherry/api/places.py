"""Where wherryd keeps things: the data root and the run directory."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from wherry.places import data_folder, run_folder


class PlaceRefused(Exception):
    """A directory cannot be used. The message is one line."""


class Places(NamedTuple):
    """The directories of one engine."""

    root: Path
    run: Path

    @property
    def socket(self) -> Path:
        """Where the Engine API is served."""
        return self.run / "wherry.sock"

    @property
    def events(self) -> Path:
        """Where shims send their events."""
        return self.run / "events.sock"

    def prepare(self) -> None:
        """Make both directories, for nobody but their owner. Raises PlaceRefused."""
        for place in self:
            try:
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                found = place.lstat()
            except OSError as error:
                raise PlaceRefused(f"cannot make {place}: {error.strerror}") from None
            if not stat.S_ISDIR(found.st_mode):
                raise PlaceRefused(f"{place} is not a directory")
            if found.st_uid != os.geteuid():
                raise PlaceRefused(f"{place} belongs to somebody else (uid {found.st_uid})")
        # Whoever may write here could put a socket of their own in the place of ours.
        if stat.S_IMODE(self.run.stat().st_mode) & 0o022:
            self.run.chmod(0o700)


def find_places(root: str = "", run: str = "") -> Places:
    """The places for this user; `root` and `run` as given on the command line come first."""
    return Places(
        Path(root or data_folder()).absolute(),
        Path(run or run_folder()).absolute(),
    )
