"""What belongs to root made readable to the ordinary users of tests."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def accessible(*folders: Path) -> Iterator[int | None]:
    """A process whose mount namespace lets everyone reach `folders`, None when they can anyway.

    An interpreter in root's home is the usual reason: there the closed folder is covered by an
    open one that holds nothing but what leads to `folders`.
    """
    closed = {
        next(iter(shut))
        for folder in folders
        if (shut := [path for path in reversed(folder.parents) if not path.stat().st_mode & 0o001])
    }
    if not closed:
        yield None
        return
    script = ["set -e", "reach=$(mktemp -d)"]
    for number, folder in enumerate(folders):
        script += [f"mkdir $reach/{number}", f"mount --bind {folder} $reach/{number}"]
    script += [f"mount -t tmpfs -o mode=755 tmpfs {top}" for top in closed]
    for number, folder in enumerate(folders):
        if any(folder.is_relative_to(top) for top in closed):
            script += [f"mkdir -p {folder}", f"mount --move $reach/{number} {folder}"]
        else:
            script += [f"umount $reach/{number}"]
    script += ["rm -d $reach/* $reach", "echo ready", "exec cat"]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield holder.pid
        holder.kill()
