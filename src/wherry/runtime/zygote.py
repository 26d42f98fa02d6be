"""The zygote: a warm, quiet, single-threaded process that forks a container for each request.

It never sees a container's data, compiles nothing and makes no WASI call. Its heap is frozen, so
that the pages of interpreter and engine stay shared by all containers.
"""

import gc
import os
import signal
import socket

from wherry.runtime import container, messages
from wherry.runtime.exits import LaunchError
from wherry.runtime.sandbox import capabilities, namespaces
from wherry.runtime.sandbox import syscalls as sys
from wherry.runtime.sandbox.outlook import Outlook
from wherry.runtime.surroundings import Surroundings, Warmth

_SHIM = 3


def main(arguments: list[str]) -> None:
    """Serve the socket at descriptor 3 until its peer is gone; `arguments`: a state directory."""
    (state,) = arguments
    serve(socket.socket(fileno=_SHIM), state, None)


def fork(state: str, warmth: Warmth) -> tuple[int, socket.socket]:
    """Fork a zygote from this process; returns its pid and the socket to ask it at.

    The caller is single-threaded and runs no event loop.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    try:
        os.dup2(theirs.fileno(), _SHIM)
        sys.close_range(_SHIM + 1, 2**32 - 1)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        serve(socket.socket(fileno=_SHIM), state, warmth)
    finally:
        os._exit(0)


def serve(shim: socket.socket, state: str, warmth: Warmth | None) -> None:
    """Fork containers until `shim` is gone."""
    try:
        outlook = _leave_mount_namespace()
        namespaced = outlook is not None
        capabilities.empty_bounding_set()
        warmth = warmth or Warmth()
        surroundings = Surroundings(state, warmth, namespaced=namespaced)
        if namespaced:
            capabilities.hide()
    except (OSError, ImportError, LaunchError) as error:
        # Who asks first is told; a zygote that only vanished could not be helped.
        messages.receive(shim)
        messages.send(shim, messages.Forked(error=f"the zygote cannot start: {error}"))
        return
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        packet, descriptors = messages.receive(shim)
        if not packet:
            return
        request = messages.decode_any(packet)
        if isinstance(request, messages.Fork | messages.Join):
            _fork(surroundings, shim, request, descriptors, outlook)


def _leave_mount_namespace() -> Outlook | None:
    """Enter a mount namespace; None where the kernel gives us none."""
    try:
        return Outlook()
    except PermissionError:
        return None


def _fork(
    surroundings: Surroundings,
    shim: socket.socket,
    request: messages.Fork | messages.Join,
    descriptors: list[int],
    outlook: Outlook | None,
) -> None:
    try:
        surroundings.restore()
        # A child of the shim, which alone supervises containers.
        if outlook is None:
            pid, pidfd = sys.clone3(sys.CLONE_PARENT)
        elif isinstance(request, messages.Fork):
            if outlook.is_stale():
                outlook.renew()
                surroundings.furnish()
            pid, pidfd = namespaces.clone_into(request.pids, sys.CLONE_PARENT | request.namespaces)
        else:
            pid, pidfd = namespaces.clone_beside(
                request.container, descriptors[-2], sys.CLONE_PARENT
            )
    except OSError as error:
        messages.send(shim, messages.Forked(error=str(error)))
        pidfd = -1
    else:
        if pid == 0:
            container.run(surroundings, request, descriptors)
        messages.send(shim, messages.Forked(pid=pid), [pidfd])
    finally:
        for fd in descriptors:
            os.close(fd)
    if pidfd >= 0:
        os.close(pidfd)
