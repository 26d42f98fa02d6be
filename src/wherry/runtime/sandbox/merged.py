"""An overlay's layers copied into one directory, where overlays cannot be mounted."""

import os
import shutil
import stat
from pathlib import Path

from wherry.oci.runtime import Mount
from wherry.runtime.exits import LaunchError

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_DONE = ".wherry-merged"


def merge(overlay: Mount, target: str) -> str:
    """Copy the lower layers of `overlay` into its upper directory and return that.

    Done once: what the container writes later stays. A layer that is not an overlay is bound by
    its source directory. Raises LaunchError and OSError.
    """
    if overlay.type != "overlay":
        if "bind" not in (overlay.options or ()) and "rbind" not in (overlay.options or ()):
            raise LaunchError(f"a {overlay.type} cannot be mounted on {target} without namespaces")
        return overlay.source
    options = dict(option.partition("=")[::2] for option in overlay.options or ())
    upper = options.get("upperdir")
    if upper is None:
        raise LaunchError("an overlay without upperdir cannot be copied together")
    done = Path(options["workdir"]) / _DONE
    if not done.exists():
        shutil.rmtree(upper)
        os.mkdir(upper, 0o755)
        for lower in reversed(options["lowerdir"].split(":")):
            lay(Path(lower), Path(upper))
        done.touch()
    return upper


def lay(source: Path, target: Path) -> None:
    """Lay the directory `source` of one layer over `target`."""
    if any(name in _OPAQUE for name in os.listxattr(source, follow_symlinks=False)):
        _empty(target)
    for entry in os.scandir(source):
        over = target / entry.name
        status = entry.stat(follow_symlinks=False)
        below = stat.S_IFMT(over.lstat().st_mode) if os.path.lexists(over) else 0
        if stat.S_ISDIR(status.st_mode):
            if below and not stat.S_ISDIR(below):
                over.unlink()
            over.mkdir(mode=0o755, exist_ok=True)
            lay(Path(entry.path), over)
            over.chmod(stat.S_IMODE(status.st_mode) | 0o700)
            continue
        if below:
            _remove(over, below)
        if stat.S_ISLNK(status.st_mode):
            over.symlink_to(os.readlink(entry.path))
        elif stat.S_ISREG(status.st_mode):
            shutil.copy2(entry.path, over)
        # What is left are whiteouts, which have done their work, and devices, which stay behind.


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        _remove(entry, stat.S_IFMT(entry.lstat().st_mode))


def _remove(path: Path, kind: int) -> None:
    if stat.S_ISDIR(kind):
        shutil.rmtree(path)
    else:
        path.unlink()
