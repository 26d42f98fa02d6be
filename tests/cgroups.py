"""The kernel's cgroups, as tests look for what is left."""

import os
from pathlib import Path


def cgroups(path: str) -> list[Path]:
    """The groups whose path ends with `path`, in every hierarchy and beneath every other group.

    Others make and remove groups meanwhile, as daemons of earlier tests that have just ended do:
    what goes while this looks is not seen, where `Path.glob` would fail.
    """
    folders = (folder for folder, _, _ in os.walk("/sys/fs/cgroup"))
    return [Path(folder) for folder in folders if folder.endswith(f"/{path}")]
