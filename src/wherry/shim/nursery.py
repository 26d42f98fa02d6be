"""Where the servers of pods come from: a warm process that forks one for each.

A pod has a server and a zygote of its own, so that one crash never takes a node. As programs they
would cost each pod more than 20 MB and 200 ms. Forked from one process that has imported and made
all they need, they share what they do not change, and are there in milliseconds. The nursery itself
serves nobody: it runs no event loop and sees no container. If it is killed, the servers that came
from it live on, and the next `start` makes another one.

A request is one packet: what the group is, with its listening socket and the pipe for the server's
first answer beside it. The reply is the server's pid. Whoever asks holds the folder's lock.
"""

import fcntl
import gc
import hashlib
import os
import select
import socket
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from wherry import __version__
from wherry.locks import try_lock
from wherry.places import data_folder
from wherry.shim.detached import become_server, detach
from wherry.shim.group import Group
from wherry.shim.places import CommandError

_PATIENCE = 10_000
"""Milliseconds without a server after which the nursery ends."""

_WARM = (
    "wherry.shim.server.serve",
    "wherry.shim.server.statistics",
    "wherry.shim.server.linux_options",
    "wherry.runtime.container",
    "wherry.runtime.linux.launcher",
    "wherry.runtime.sandbox.cgroups.legacy",
    "wherry.runtime.sandbox.cgroups.unified",
    "concurrent.futures.thread",
)
"""What servers import, at once or when they first need it: here it is shared by them all."""

_MAX_REQUEST = 8192
_BACKLOG = 64


def server_for(group: Group, listener: socket.socket, events_address: str, answer: int) -> int:
    """Have a server forked for `group`, by a new nursery if there is none; returns its pid.

    Raises CommandError, OSError.
    """
    place = _place(group.folder)
    try:
        return _ask(place, group, listener, events_address, answer)
    except (ConnectionError, FileNotFoundError):
        _found(place, group)
    try:
        return _ask(place, group, listener, events_address, answer)
    except ConnectionError:
        raise CommandError(f"the nursery ended as soon as it was started: {place}.log") from None


def _place(folder: str) -> str:
    """The nursery's socket: one for each installation and each place of data."""
    installation = f"{__version__}\0{os.path.dirname(__file__)}\0{data_folder()}"
    return f"{folder}/nursery-{hashlib.sha256(installation.encode()).hexdigest()[:12]}"


def _ask(
    place: str, group: Group, listener: socket.socket, events_address: str, answer: int
) -> int:
    words = (group.namespace, group.containerd, group.pod, events_address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as nursery:
        nursery.connect(place)
        request = "\0".join(words).encode()
        socket.send_fds(nursery, [request], [listener.fileno(), answer])
        reply = nursery.recv(16)
    if not reply:
        raise ConnectionResetError
    return int(reply)


def _found(place: str, group: Group) -> None:
    """Fork a nursery. Who asks from now on waits until it is warm."""
    if os.path.lexists(place):
        os.unlink(place)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(place)
        listener.listen(_BACKLOG)
        if os.fork():
            return
        try:
            os.setsid()
            os.umask(0o022)
            group.leave_lock()
            detach(f"{place}.log")
            os.chdir("/")
            _close_all_but(listener.fileno())
            Nursery(group.folder, place, socket.socket(fileno=3)).serve()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(0)


class Nursery:
    """The nursery's own process. It stays single-threaded and quiet, because it forks."""

    def __init__(
        self, folder: str, place: str, listener: socket.socket, patience: int = _PATIENCE
    ) -> None:
        from wherry.runtime.surroundings import Warmth

        for module in _WARM:
            import_module(module)
        self._patience = patience
        self._folder = folder
        self._place = place
        self._listener = listener
        listener.listen(_BACKLOG)  # once more, so that SO_PEERCRED names this process
        self._warmth = Warmth()
        self._warmth.title.show(["wherry-shim", "nursery"])
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._servers = 0
        gc.collect()
        gc.freeze()

    def serve(self) -> None:
        """Fork servers until none has been alive for a while."""
        while True:
            ready = self._poll.poll(None if self._servers else self._patience)
            if not ready and self._leave():
                return
            for descriptor, _ in ready:
                if descriptor == self._listener.fileno():
                    self._answer()
                else:
                    self._bury(descriptor)

    def _answer(self) -> None:
        """Fork the server that is asked for, and tell its pid."""
        caller, _ = self._listener.accept()
        with caller:
            packet, descriptors, _, _ = socket.recv_fds(caller, _MAX_REQUEST, 2)
            try:
                namespace, containerd, pod, events = packet.decode().split("\0")
                listener, answer = descriptors
                pid = os.fork()
                if not pid:
                    group = Group(self._folder, namespace, containerd, pod)
                    self._become_server(group, listener, answer, events)
                self._servers += 1
                self._poll.register(os.pidfd_open(pid), select.POLLIN)
                caller.send(b"%d" % pid)
            except (ValueError, OSError) as error:
                print(f"no server was made: {error}", flush=True)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _become_server(self, group: Group, listener: int, answer: int, events: str) -> NoReturn:
        from wherry.runtime import Launcher, zygote

        _close_all_but(listener, answer)
        self._warmth.title.show(["wherry-zygote", *group.command_line[1:]])
        cache = Path(data_folder()) / "cache"
        launcher = Launcher.adopt(cache, *zygote.fork(str(cache), self._warmth))
        become_server(group, socket.socket(fileno=3), events, 4, launcher)

    def _bury(self, server: int) -> None:
        os.waitid(os.P_PIDFD, server, os.WEXITED)
        self._poll.unregister(server)
        os.close(server)
        self._servers -= 1

    def _leave(self) -> bool:
        """End, unless somebody has begun to ask: who asks holds the lock."""
        lock = os.open(f"{self._folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not try_lock(lock):
            os.close(lock)
            return False
        os.unlink(self._place)
        os.unlink(f"{self._place}.log")
        return True


def _close_all_but(*descriptors: int) -> None:
    """Put `descriptors` at 3 and up, and close all others but the standard three."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in descriptors]
    for target, fd in enumerate(high, 3):
        os.dup2(fd, target, inheritable=False)
    os.closerange(3 + len(high), os.sysconf("SC_OPEN_MAX"))
