"""`wherryd`: the daemon that serves the Engine API, starting by itself and leaving when idle.

The listening socket comes from whoever started it (LISTEN_FDS, sd_listen_fds(3)) or is made here.
Importing the server takes most of the start, so what others can do meanwhile is begun before.
"""

import os
import socket
import sys
from pathlib import Path

from wherry.api.lock import AlreadyRunning, DaemonLock
from wherry.api.places import PlaceRefused, Places, find_places
from wherry.interpreter import import_without
from wherry.pids import process_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_IDLE_SECONDS = 300.0
_BACKLOG = 512
_LISTEN_FD = 3
_SHIM = "containerd-shim-wherry-v1"


class Options:
    """What the command line asks for; times in seconds."""

    root = ""
    run = ""
    idle_timeout = _IDLE_SECONDS


def main() -> int:
    """Serve until idle or told to end; the exit code."""
    options = _options(sys.argv[1:])
    try:
        return _run(options)
    except (AlreadyRunning, PlaceRefused) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or 'socket'}")


def _run(options: Options) -> int:
    places = find_places(options.root, options.run)
    places.prepare()
    # Once in a user namespace everybody is root, so the shim is told rather than left to guess.
    os.environ["WHERRY_ROOT"], os.environ["WHERRY_RUN"] = str(places.root), str(places.run)
    shim = _find_shim()
    # That folder need not be on the PATH, where the engine looks for shims.
    os.environ["PATH"] = f"{shim.parent}:{os.environ.get('PATH', os.defpath)}"
    lock = DaemonLock.take(places.run / "wherryd.lock")
    listener = _listener(places)

    from wherry.api import userns

    if userns.needed():
        try:
            userns.enter(_shims(places.run))
        except userns.NamespaceRefused as error:
            # Containers are then held by WASI and seccomp alone (see wherry.runtime.sandbox.root).
            sys.stderr.write(f"wherryd: {error}; going on without namespaces\n")

    _start_shim(shim, places)
    return _runner()(places, listener, lock, idle_timeout=options.idle_timeout)


def _runner() -> "Callable[..., int]":
    """`serving.run`, whose import takes most of the start."""
    # 2 ms, and 0.3 MB of an idle engine.
    import_without("msgspec", "typing_extensions")
    from wherry.api import serving

    return serving.run


def _options(arguments: list[str]) -> Options:
    options = Options()
    if not arguments:
        return options
    import argparse

    from wherry import __version__

    parser = argparse.ArgumentParser(
        prog="wherryd",
        description="Serves the Docker Engine API for wherry. The wherry command starts it.",
    )
    parser.add_argument("--root", default="", help="directory of images, containers and volumes")
    parser.add_argument("--run", default="", help="directory of the socket")
    parser.add_argument(
        "--idle-timeout",
        type=float,
        default=_IDLE_SECONDS,
        metavar="SECONDS",
        help="leave when nothing has run and nobody has asked for so long; 0 never "
        "(default: %(default)g)",
    )
    parser.add_argument("--version", action="version", version=f"wherryd {__version__}")
    parser.parse_args(arguments, namespace=options)
    return options


def _listener(places: Places) -> socket.socket:
    if os.environ.pop("LISTEN_FDS", "") == "1":
        os.environ.pop("LISTEN_FDNAMES", None)
        listener = socket.socket(fileno=_LISTEN_FD)
        listener.set_inheritable(False)
        return listener
    # The lock is ours: whatever stands there was left behind.
    places.socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(places.socket))
    finally:
        os.umask(before)
    listener.listen(_BACKLOG)
    return listener


def _find_shim() -> Path:
    """The shim's program as it was installed with this package; it may be missing."""
    beside = Path(sys.executable).parent / _SHIM
    if beside.exists():
        return beside
    import sysconfig

    folders = [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", "posix_user")]
    found = (Path(folder) / _SHIM for folder in folders)
    return next((path for path in found if path.exists()), beside)


def _start_shim(program: Path, places: Places) -> None:
    """Have the shim start while this process still imports.

    The engine asks for it again in the same words, and is told what went wrong if anything did.
    """
    if not program.exists():
        return
    home = places.run / "shim-home"
    home.mkdir(mode=0o700, exist_ok=True)
    events = str(places.events)
    words = ["-namespace", "wherry", "-address", events, "-publish-binary", "", "-id", "warm-up"]
    # By way of a shell, so that it is no child of this process, which would have to wait for it.
    detached = 'cd "$0" && "$@" </dev/null >/dev/null 2>&1 &'
    shell = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", detached, str(home), str(program), *words, "start"],
        os.environ | {"TTRPC_ADDRESS": events},
    )
    os.waitpid(shell, 0)


def _shims(run: Path) -> list[int]:
    """The pids of the engine's shims that still live, by the files that name them."""
    pids = []
    for pointer in run.glob("shim/wherry,*"):
        pid, start, *_ = [*pointer.read_text(errors="replace").split(), "", ""]
        if pid.isdecimal() and start and process_start(int(pid)) == start:
            pids.append(int(pid))
    return pids


def _fail(message: str) -> int:
    print(f"wherryd: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
