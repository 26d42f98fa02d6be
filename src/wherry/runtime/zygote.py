"""The zygote: a warm, quiet, single-threaded process that forks a container for each request.

It never sees a container's data, compiles nothing and makes no WASI call. Its heap is frozen, so
that the pages of interpreter and engine stay shared by all containers.
"""

import gc
import os
import socket

from wherry.runtime import container, messages
from wherry.runtime.exits import LaunchError
from wherry.runtime.sandbox import capabilities
from wherry.runtime.sandbox import syscalls as sys

_SHIM = 3


def main(arguments: list[str]) -> None:
    """Serve the socket at descriptor 3 until its peer is gone; `arguments`: a state directory."""
    (state,) = arguments
    shim = socket.socket(fileno=_SHIM)
    try:
        namespaced = _leave_mount_namespace()
        capabilities.empty_bounding_set()
        surroundings = container.Surroundings(state, namespaced=namespaced)
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
        request = messages.decode(packet, messages.Fork)
        if not namespaced:
            request.namespaces = 0
        _fork(surroundings, shim, request, descriptors)


def _leave_mount_namespace() -> bool:
    """Enter a mount namespace; False where the kernel gives us none."""
    try:
        sys.unshare(sys.CLONE_NEWNS)
        # Mounts of the host appear here, but none made here appears there.
        sys.mount("", "/", "", sys.MS_REC | sys.MS_SLAVE)
    except PermissionError:
        return False
    return True


def _fork(
    surroundings: container.Surroundings,
    shim: socket.socket,
    request: messages.Fork,
    descriptors: list[int],
) -> None:
    try:
        # A child of the shim, which alone supervises containers.
        pid, pidfd = sys.clone3(sys.CLONE_PARENT | request.namespaces)
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
