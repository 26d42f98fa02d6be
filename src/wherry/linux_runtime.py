"""Which runtime for Linux programs there is on this machine: runc, or crun.

Asked by the shim, which calls it, and by the engine, which chooses images by what can run.
"""

import shutil

KNOWN = ("runc", "crun")
"""Runtimes in the order in which they are looked for on the PATH."""

HINT = "install runc or crun (apt install crun)"
"""What to do where there is none."""


def find() -> str | None:
    """The path of the runtime that is taken, None if none is installed."""
    return next((path for name in KNOWN if (path := shutil.which(name))), None)


def is_there() -> bool:
    """Whether Linux programs can be run."""
    return find() is not None
