"""An engine on a machine of its own that builds in Linux stages, and a base image for them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import busybox, without
from tests.engine_under_test import Wherry
from tests.network.machine import Machine

from wherry.oci import HOST

PLATFORM = str(HOST)
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
"""With it, all engines build the same, bit for bit."""
_WITH_IDS = 'mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"'


@contextlib.contextmanager
def builder(machine: Machine, user: int | None = None, ids: Path | None = None) -> Iterator[Wherry]:
    """An engine with the image `base`: busybox, its links in /bin, and /etc/passwd.

    `ids` is a file to be /etc/subuid and /etc/subgid; else the user has no ranges.
    """
    if not (shutil.which("runc") or shutil.which("crun")):
        without("neither runc nor crun is installed")
    with Wherry(user=user) as wherry:
        wherry.within = machine.within
        if ids is not None:
            words = ("unshare", "--mount", "sh", "-c", _WITH_IDS, str(ids))
            wherry.within = (*machine.within, *words)
        context = folder(
            wherry,
            "FROM scratch\nCOPY busybox /bin/busybox\nCOPY passwd /etc/passwd\n"
            'RUN ["/bin/busybox", "--install", "-s", "/bin"]\n',
            passwd="root:x:0:0::/root:/bin/sh\n",
        )
        shutil.copy(busybox(), context / "busybox")
        wherry.ok("build", "-q", "--platform", PLATFORM, "-t", "base", context, env=EPOCH)
        yield wherry


def folder(wherry: Wherry, dockerfile: str, **files: str) -> Path:
    """A build context; `__` in a file's name stands for a slash."""
    context = wherry.folder / "context"
    shutil.rmtree(context, ignore_errors=True)
    for name, text in {"Dockerfile": dockerfile, **files}.items():
        path = context / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["chmod", "-R", "a+rX", context], check=True)
    return context
