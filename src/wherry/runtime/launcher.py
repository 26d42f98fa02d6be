"""The warm zygote, seen from the shim's event loop."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from wherry.oci import encode
from wherry.oci import runtime as spec
from wherry.runtime import messages
from wherry.runtime.code import CodeCache
from wherry.runtime.config import read_config
from wherry.runtime.creation import (
    clone_flags,
    give,
    make_cgroup,
    shared_pids,
    try_send,
    why_it_died,
)
from wherry.runtime.exits import ContainerEnded, LaunchError, NotWasm
from wherry.runtime.interpreter import command
from wherry.runtime.program import is_meant_as_wasm
from wherry.runtime.sandbox.cgroups import Cgroup

if TYPE_CHECKING:
    from wherry.runtime.hooks import ContainerHooks, Job


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A container to be made. The descriptors stay the caller's, to close after `create`."""

    id: str
    bundle: str
    rootfs: tuple[spec.Mount, ...]
    stdin: int
    stdout: int
    stderr: int
    before_hooks: Callable[[int, str], None] | None = None
    """Called with pid and cgroup of a container that has hooks before the first of them runs: from
    then on its last ones are owed, even if this process dies."""


class RunningContainer(Protocol):
    """A container, by its first process."""

    @property
    def pid(self) -> int:
        """As this process's pid namespace numbers it."""

    @property
    def pidfd(self) -> int:
        """A pidfd of it, open as long as its exec takes."""

    @property
    def cgroup(self) -> Cgroup:
        """The cgroup of the whole container."""


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A further process of a running container. The descriptors stay the caller's."""

    container: RunningContainer
    bundle: str
    process: spec.Process
    stdin: int
    stdout: int
    stderr: int
    rootfs: tuple[spec.Mount, ...] = ()
    """As the container was created with; looked at only where there are no namespaces."""
    document: bytes = b""
    """`process` as JSON, as it came: for a runtime that knows more of it."""


class Process:
    """A container's process: a child of this process, created and not yet started."""

    takes_signals = False
    terminal: int | None = None

    def __init__(
        self, pid: int, pidfd: int, cgroup: Cgroup, control: socket.socket, *, first: bool
    ) -> None:
        """`first`: with it goes the container, and so the cgroup."""
        self.pid = pid
        self.pidfd = pidfd
        self.cgroup = cgroup
        self.hooks: ContainerHooks | None = None
        """Of its container, once those of its creation have run."""
        self._control = control
        self._first = first

    async def start(self, on_signal: Callable[[int], None]) -> None:
        """Let the guest run. `on_signal` is called with the number of each signal that reaches the
        process directly; the guest goes on, so whoever listens ends it.

        Raises LaunchError if a hook fails that comes before; then the process is ended.
        """
        if self.hooks is not None:
            await self._run_hooks(self.hooks.starting(self.pid, self.cgroup.procs_files))
        self.go_on()
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._heard, on_signal)
        if self.hooks is not None:
            from wherry.runtime.hooks import finish_and_warn

            await finish_and_warn(self.hooks.started(self.pid), _warn)

    async def _run_hooks(self, jobs: "list[Job]") -> None:
        from wherry.runtime.hooks import finish_jobs

        try:
            await finish_jobs(jobs)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            raise

    def go_on(self) -> None:
        """Let it go on with what it waits for."""
        with contextlib.suppress(OSError):  # it died meanwhile, which its end will tell
            self._control.send(messages.START)

    def _heard(self, on_signal: Callable[[int], None]) -> None:
        try:
            packet = self._control.recv(16)
        except OSError:
            packet = b""
        if not packet:
            self._close_control()
            return
        for number in packet:
            on_signal(number)

    def _close_control(self) -> None:
        if self._control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()

    async def pause(self) -> None:
        """Freeze the container. Raises CgroupError."""
        self.cgroup.freeze()

    async def resume(self) -> None:
        """Let the container go on. Raises CgroupError."""
        self.cgroup.thaw()

    async def update(self, resources: spec.Resources, document: bytes) -> None:
        """Set other limits, by `resources`. Raises CgroupError."""
        self.cgroup.update(resources)

    def ended(self) -> None:
        """It was reaped. Nothing is to do: it has no children."""

    async def close(self) -> None:
        """After it was reaped: closes its descriptors; the container's first removes the cgroup."""
        self._close_control()
        os.close(self.pidfd)
        if not self._first:
            return
        try:
            self.cgroup.delete()
        finally:
            if self.hooks is not None:
                from wherry.runtime.hooks import finish_and_warn

                await finish_and_warn(self.hooks.deleted(), _warn)


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
            message = messages.Fork(
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
        hooks = None
        if config.hooks is not None:
            from wherry.runtime.hooks import ContainerHooks

            hooks = ContainerHooks(config, request.id, request.bundle)
            if request.before_hooks is not None:
                request.before_hooks(process.pid, cgroup.path)
        await self._prepare(process, hooks)
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
            if _has_ended(container.pidfd):
                raise ContainerEnded("the container has ended") from None
            raise
        finally:
            os.close(description)
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

    async def _prepare(self, process: Process, hooks: "ContainerHooks | None" = None) -> None:
        """Wait until a process is ready to start; end one that is not to be."""
        try:
            if not process.cgroup.procs_files:
                # It bounds nothing, and counts who it is told of.
                process.cgroup.add(process.pid)
            await self._await_ready(process, process._control, hooks)
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
        self, process: Process, control: socket.socket, hooks: "ContainerHooks | None"
    ) -> None:
        while True:
            packet, descriptors = await _receive(control)
            if not packet:
                raise LaunchError(why_it_died(process.cgroup))
            try:
                message = messages.decode_any(packet)
            except msgspec.DecodeError:
                raise LaunchError("the container's process sent nonsense") from None
            match message:
                case messages.Ready():
                    process.hooks = hooks
                    return
                case messages.Built() if hooks is not None:
                    # From the first hook on the last ones are owed.
                    process.hooks = hooks
                    from wherry.runtime.hooks import finish_jobs

                    await finish_jobs(hooks.creating(process.pid, process.cgroup.procs_files))
                    process.go_on()
                case messages.Failed(message=text, exit_code=exit_code):
                    raise LaunchError(text, exit_code)
                case messages.NeedCode() if len(descriptors) == 1:
                    await self._give_code(control, descriptors[0], message)

    async def _give_code(
        self, control: socket.socket, module: int, wanted: messages.NeedCode
    ) -> None:
        bounded = wanted.bounded
        try:
            code = self._cache.peek(module, bounded=bounded)
            if code is None:
                if not is_meant_as_wasm(module, wanted.name):
                    raise NotWasm(wanted.name)
                code = await asyncio.to_thread(
                    self._cache.get, module, wanted.name, bounded=bounded
                )
        except NotWasm:
            raise
        except (LaunchError, OSError) as error:
            exit_code = error.exit_code if isinstance(error, LaunchError) else 125
            try_send(control, messages.Failed(str(error), exit_code), [])
            return
        finally:
            os.close(module)
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


def _warn(line: str) -> None:
    """Into the log of who launches."""
    print(f"warning: {line}", file=sys.stderr, flush=True)


def _reap(pidfd: int) -> None:
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED)


def _file_of(process: spec.Process) -> int:
    """A file in memory that describes the process to be; a packet may be too small for it."""
    descriptor = os.memfd_create("process")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(encode(process))
    return descriptor


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
