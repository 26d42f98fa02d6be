"""The warm zygote, seen from the shim's event loop."""

import asyncio
import contextlib
import os
import select
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.interpreter import command
from wherry.oci import encode
from wherry.oci import runtime as spec
from wherry.runtime import messages
from wherry.runtime.code import CodeCache
from wherry.runtime.config import read_config
from wherry.runtime.creation import (
    answering,
    clone_flags,
    find_code,
    give,
    make_cgroup,
    shared_pids,
    try_send,
    understand,
)
from wherry.runtime.exits import ContainerEnded, LaunchError
from wherry.runtime.guest_process import Process
from wherry.runtime.process import RunningContainer
from wherry.runtime.requests import CreateRequest, ExecRequest
from wherry.runtime.sandbox.cgroups import Cgroup

if TYPE_CHECKING:
    from wherry.runtime.hooks import ContainerHooks


class Launcher:
    """Makes containers out of a zygote."""

    def __init__(self, cache: Path) -> None:
        self._cache = CodeCache(cache)
        self._turn = asyncio.Lock()
        self._zygote: socket.socket | None = None
        self._pid = 0

    @property
    def zygote_pid(self) -> int:
        """The zygote's, which this waits for; 0 before there is one."""
        return self._pid

    @classmethod
    async def spawn(cls, cache: Path) -> "Launcher":
        """Start a zygote; it warms up while the caller goes on."""
        launcher = cls(cache)
        launcher._spawn()
        return launcher

    @classmethod
    def adopt(cls, cache: Path, pid: int, zygote: socket.socket) -> "Launcher":
        """Use a zygote that is a child of this process already, at the socket to ask it at."""
        launcher = cls(cache)
        zygote.setblocking(False)
        launcher._pid, launcher._zygote = pid, zygote
        return launcher

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = command("wherry.runtime.zygote", str(self._cache.root))
        with theirs:
            self._pid = os.posix_spawn(
                argv[0],
                argv,
                {"PATH": os.defpath},
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)],
                setsigdef=[signal.SIGPIPE],
            )
        ours.setblocking(False)
        self._zygote = ours

    async def create(self, request: CreateRequest) -> Process:
        """Fork a container, build its sandbox and load its module; the guest does not run yet.

        Raises LaunchError; nothing is left behind then.
        """
        config = read_config(request.bundle)
        cgroup = make_cgroup(request.id, config)
        try:
            if request.on_made is not None:
                request.on_made(0, cgroup.path)
            message = messages.Fork(
                id=request.id,
                bundle=request.bundle,
                rootfs=list(request.rootfs),
                procs_files=cgroup.procs_files,
                namespaces=clone_flags(config, shared_network=True),
                pids=shared_pids(config),
            )
            streams = [request.stdin, request.stdout, request.stderr]
            process = await self._make(message, streams, cgroup)
        except BaseException:
            cgroup.delete()
            raise
        if request.on_made is not None:
            request.on_made(process.pid, cgroup.path)
        hooks = None
        if config.hooks is not None:
            from wherry.runtime.hooks import ContainerHooks

            hooks = ContainerHooks(config, request.id, request.bundle)
        await self._prepare(process, hooks, request.exposed)
        return process

    async def exec(self, request: ExecRequest) -> Process:
        """Fork a further process of a container into its sandbox, and load its module.

        Its `close` leaves the container's cgroup alone. It ends with the container if that has a
        pid namespace of its own; else who sees the container end kills what is in its cgroup. Not
        to be asked for while the container is frozen, for then it would freeze halfway.

        Raises LaunchError, and ContainerEnded if that is the reason; nothing is left behind then.
        """
        container = request.container
        message = messages.Join(
            bundle=request.bundle,
            rootfs=list(request.rootfs),
            procs_files=container.cgroup.procs_files,
            container=container.pid,
        )
        streams = [request.stdin, request.stdout, request.stderr]
        description = _file_of(request.process)
        try:
            further = [container.pidfd, description]
            process = await self._make(message, streams, container.cgroup, further)
            await self._prepare(process)
        except LaunchError:
            if _has_ended(container):
                raise ContainerEnded("the container has ended") from None
            raise
        finally:
            os.close(description)
        if _has_ended(container):
            await _end(process)
            raise ContainerEnded("the container has ended")
        return process

    async def _make(
        self,
        message: messages.Fork | messages.Join,
        streams: list[int],
        cgroup: Cgroup,
        further: Sequence[int] = (),
    ) -> Process:
        """Have the zygote fork a process: a container's first unless `further` is given."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                pid, pidfd = await self._fork(message, [*streams, theirs.fileno(), *further])
        except BaseException:
            ours.close()
            raise
        return Process(pid, pidfd, cgroup, ours, first=not further)

    async def _prepare(
        self,
        process: Process,
        hooks: "ContainerHooks | None" = None,
        exposed: Callable[[], Awaitable[list[str]]] | None = None,
    ) -> None:
        """Wait until a process is ready to start; end one that is not to be."""
        try:
            process.cgroup.tell_of(process.pid)
            await self._await_ready(process, process.control, hooks, exposed)
        except BaseException:
            await _end(process)
            raise

    async def _fork(
        self, message: messages.Fork | messages.Join, descriptors: list[int]
    ) -> tuple[int, int]:
        async with self._turn:
            try:
                return await self._ask_zygote(message, descriptors)
            except ConnectionError:
                # The zygote was killed: containers live on without it, and a new one takes over.
                self.close()
                self._spawn()
            try:
                return await self._ask_zygote(message, descriptors)
            except ConnectionError:
                raise LaunchError("the zygote ends as soon as it is started") from None

    async def _ask_zygote(
        self, message: messages.Fork | messages.Join, descriptors: list[int]
    ) -> tuple[int, int]:
        if self._zygote is None:
            raise ConnectionResetError
        try:
            messages.send(self._zygote, message, descriptors)
        except (BrokenPipeError, ConnectionResetError):
            raise ConnectionResetError from None
        except OSError as error:
            raise LaunchError(f"the container cannot be described to the zygote: {error}") from None
        packet, received = await _receive(self._zygote)
        if not packet:
            raise ConnectionResetError
        answer = messages.decode(packet, messages.Forked)
        if answer.error:
            raise LaunchError(f"no process can be made: {answer.error}")
        return answer.pid, received[0]

    async def _await_ready(
        self,
        process: Process,
        control: socket.socket,
        hooks: "ContainerHooks | None",
        exposed: Callable[[], Awaitable[list[str]]] | None,
    ) -> None:
        while True:
            packet, descriptors = await _receive(control)
            match understand(packet, process.cgroup):
                case messages.Ready():
                    process.hooks = hooks
                    return
                case messages.Built() if hooks is not None:
                    # From the first hook on the last ones are owed.
                    process.hooks = hooks
                    from wherry.runtime.hooks import finish_jobs

                    await finish_jobs(hooks.creating(process.pid, process.cgroup.procs_files))
                    process.go_on()
                case messages.NeedCode() as wanted if len(descriptors) == 1:
                    await self._give_code(control, descriptors[0], wanted)
                case messages.NeedPorts():
                    ports = [] if exposed is None else await exposed()
                    try_send(control, messages.Ports(ports), [])

    async def _give_code(
        self, control: socket.socket, module: int, wanted: messages.NeedCode
    ) -> None:
        with answering(control, module):
            code = find_code(self._cache, module, wanted)
            if code is None:
                code = await asyncio.to_thread(
                    self._cache.get, module, wanted.name, bounded=wanted.bounded
                )
            give(control, code)

    def close(self) -> None:
        """End the zygote. Containers live on."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
            os.waitpid(self._pid, 0)


async def _receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """Receive one packet; empty when the peer is gone."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return messages.receive(channel)
        except BlockingIOError:
            pass
        except ConnectionResetError:
            return b"", []
        readable = loop.create_future()
        loop.add_reader(channel.fileno(), _wake, readable)
        try:
            await readable
        finally:
            loop.remove_reader(channel.fileno())


def _wake(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)


async def _end(process: Process) -> None:
    """Kill and reap a container that is not to be, and remove what was made for it."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
    loop = asyncio.get_running_loop()
    gone = loop.create_future()
    loop.add_reader(process.pidfd, _wake, gone)
    try:
        await asyncio.shield(gone)
    finally:
        loop.remove_reader(process.pidfd)
        _reap(process.pidfd)
        await process.close()


def _reap(pidfd: int) -> None:
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED)


def _file_of(process: spec.Process) -> int:
    """A file in memory that describes the process to be; a packet may be too small for it."""
    descriptor = os.memfd_create("process")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(encode(process))
    return descriptor


def _has_ended(container: RunningContainer) -> bool:
    """Whether a container's first process has ended, or is about to and has let go of its root."""
    poll = select.poll()
    poll.register(container.pidfd, select.POLLIN)
    if poll.poll(0):
        return True
    try:
        os.readlink(f"/proc/{container.pid}/root")
    except PermissionError:
        return False
    except OSError:
        return True
    return False
