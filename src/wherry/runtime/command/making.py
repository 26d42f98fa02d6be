"""Making a process in a container: this command forks it, so that its caller may reap it.

The caller of `create` (conmon, containerd's shim, Buildah) is the subreaper of what it starts. So
the process is a child of this command, and becomes the caller's when this command ends. While it is
being made the two talk as a shim and its containers do.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from wherry.places import data_folder, own_data_folder
from wherry.runtime import messages
from wherry.runtime.code import CodeCache
from wherry.runtime.creation import answering, find_code, give, try_send, understand
from wherry.runtime.exits import ENGINE_FAILED, LaunchError
from wherry.runtime.sandbox import namespaces
from wherry.runtime.sandbox import syscalls as sys
from wherry.runtime.sandbox.cgroups import Cgroup

if TYPE_CHECKING:
    from wherry.runtime.surroundings import Warmth

Request = messages.Fork | messages.Join


def _nothing() -> None:
    """Who has no hooks has nothing to do for them."""


class Making:
    """A process being made. Leaving the `with` block before `finish` ends and reaps it."""

    def __init__(
        self,
        request: Request,
        descriptors: list[int],
        further: list[int],
        clone: Callable[[], tuple[int, int]],
        overseer: str,
        warmth: "Warmth | None" = None,
    ) -> None:
        """Fork it by `clone`. `descriptors` are its streams; `further` follow its control.

        `overseer` is a class of `runtime.overseer`; `warmth` what stands ready, if anything does.
        Raises LaunchError.
        """
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        cache = code_cache()
        with theirs:
            handed = [*descriptors, theirs.fileno(), *further]
            try:
                self.pid, self.pidfd = clone()
            except OSError as error:
                raise LaunchError(f"no process can be made: {error}") from None
            if self.pid == 0:
                _become(request, handed, cache, overseer, warmth)
        self._cache = CodeCache(cache)
        self._finished = False

    def __enter__(self) -> "Making":
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        if not self._finished:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)

    def await_ready(self, cgroup: Cgroup, built: Callable[[], None] = _nothing) -> None:
        """Give it what it asks for until it is ready. Raises LaunchError, NotWasm.

        `built` is called once its sandbox is and if it has hooks that run then.
        """
        while True:
            try:
                packet, descriptors = messages.receive(self._control)
            except ConnectionResetError:
                packet = b""
            match understand(packet, cgroup):
                case messages.Ready():
                    return
                case messages.Built():
                    built()
                    self._go_on()
                case messages.NeedCode() as wanted if len(descriptors) == 1:
                    self._give_code(descriptors[0], wanted)
                case messages.NeedPorts():
                    try_send(self._control, messages.Ports([]), [])

    def _give_code(self, module: int, wanted: messages.NeedCode) -> None:
        with answering(self._control, module):
            code = find_code(self._cache, module, wanted)
            if code is None:
                code = self._cache.get(module, wanted.name, bounded=wanted.bounded)
            give(self._control, code)

    def finish(self) -> None:
        """Let it go on, by itself from now on."""
        self._go_on()
        self._finished = True

    def _go_on(self) -> None:
        with contextlib.suppress(OSError):  # it died meanwhile, which its end will tell
            self._control.send(messages.START)


def code_cache() -> str:
    """The folder of the cache of compiled code. Raises LaunchError if there can be none.

    In a user namespace root is one who may not write where root's cache is.
    """
    folders = [f"{data_folder()}/cache"]
    if os.geteuid() == 0 and not os.environ.get("WHERRY_ROOT"):
        folders.append(f"{own_data_folder()}/cache")
    for folder in folders:
        with contextlib.suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    raise LaunchError(f"compiled code cannot be kept in {folders[0]} (WHERRY_ROOT says where else)")


def is_namespaced(request: Request) -> bool:
    """Whether the container has, or is to have, namespaces of its own."""
    if isinstance(request, messages.Fork):
        return bool(request.namespaces)
    return bool(namespaces.foreign(request.container) & sys.CLONE_NEWNS)


def _become(
    request: Request, handed: list[int], cache: str, overseer: str, warmth: "Warmth | None"
) -> NoReturn:
    """In the fork: become the process. What only it needs is imported here, beside its parent."""
    control = handed[3]
    try:
        from wherry.runtime import container
        from wherry.runtime import overseer as overseers
        from wherry.runtime.sandbox import capabilities
        from wherry.runtime.surroundings import Surroundings, Warmth

        sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)
        namespaced = is_namespaced(request)
        if isinstance(request, messages.Fork) and namespaced:
            # Mounts of the host appear here, but none made here appears there.
            sys.mount("", "/", "", sys.MS_REC | sys.MS_SLAVE)
        capabilities.empty_bounding_set()
        surroundings = Surroundings(
            cache, warmth or Warmth(eager=False), namespaced=namespaced, shared=False
        )
        if namespaced:
            capabilities.hide()
    except (OSError, ImportError, LaunchError) as error:
        with socket.socket(fileno=control) as channel:
            try_send(channel, messages.Failed(f"the container's process: {error}", 125), [])
        os._exit(ENGINE_FAILED)
    container.run(surroundings, request, handed, getattr(overseers, overseer))
