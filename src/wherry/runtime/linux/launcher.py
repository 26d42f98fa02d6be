"""Makes Linux containers by calling runc or crun."""

import asyncio
import contextlib
import os
from collections.abc import Callable

import msgspec

from wherry.oci import runtime as spec
from wherry.runtime.config import read_config
from wherry.runtime.egress import require_enforcer
from wherry.runtime.exits import LaunchError
from wherry.runtime.linux import note, rootfs
from wherry.runtime.linux.installed import find_runtime
from wherry.runtime.linux.options import LinuxOptions
from wherry.runtime.linux.orphans import Orphans
from wherry.runtime.linux.process import LinuxInit, LinuxProcess
from wherry.runtime.linux.runtime import OciRuntime, memory_file
from wherry.runtime.linux.scratch import Scratch
from wherry.runtime.requests import CreateRequest, ExecRequest
from wherry.runtime.sandbox.cgroups import Cgroup
from wherry.runtime.sandbox.cgroups.hierarchies import Hierarchies, of_this_process
from wherry.runtime.sandbox.cgroups.unbounded import UnboundedCgroup


class LinuxLauncher:
    """Hands bundles to a Linux runtime; this process becomes the parent of their processes."""

    def __init__(
        self, state: str, files: tuple[int, int], awaited: Callable[[int], bool] = lambda pid: False
    ) -> None:
        """`state` is where runtimes keep theirs, a folder; `files` the containers' limits of open
        files, soft and hard; `awaited` tells which further children somebody waits for.
        """
        os.makedirs(state, 0o700, exist_ok=True)
        self._state = state
        self._files = files
        self._pids: set[int] = set()
        self._orphans = Orphans(lambda pid: pid in self._pids or awaited(pid))

    async def create(self, request: CreateRequest, options: LinuxOptions) -> LinuxInit:
        """Have the container of a bundle made; its program does not run yet.

        Raises LaunchError; nothing is left behind then.
        """
        config = read_config(request.bundle)
        require_enforcer(config, "a Linux program")
        runtime = self._runtime(config, options)
        root = rootfs.root_of(config, request.bundle) if request.rootfs else None
        made = note.Note(runtime.program, runtime.systemd_cgroup, root)
        try:
            note.leave(request.bundle, made)
            if root is not None:
                rootfs.mount(request.rootfs, root)
            with Scratch(request.bundle) as scratch:
                return await self._create(request, config, runtime, root, options, scratch)
        except BaseException as error:
            await self._undo(runtime, request, root)
            if isinstance(error, OSError):
                raise LaunchError(f"the container cannot be made: {_said(error)}") from None
            raise

    async def _create(
        self,
        request: CreateRequest,
        config: spec.Spec,
        runtime: OciRuntime,
        root: str | None,
        options: LinuxOptions,
        scratch: Scratch,
    ) -> LinuxInit:
        arguments = ["create", "--bundle", request.bundle, "--pid-file", scratch.pid_file]
        if options.no_pivot_root:
            arguments.append("--no-pivot")
        if options.no_new_keyring:
            arguments.append("--no-new-keyring")
        wants_terminal = config.process is not None and config.process.terminal
        pid, terminal = await self._call(
            runtime, request, arguments, [request.id], scratch, wants_terminal
        )
        return LinuxInit(
            pid,
            _cgroup_of(pid, request.id),
            terminal,
            self._pids.discard,
            runtime=runtime,
            id=request.id,
            bundle=request.bundle,
            root=root,
            alone=_has_own_pids(config),
        )

    async def exec(self, request: ExecRequest) -> LinuxProcess:
        """Have a further process run in a container that this made. Raises LaunchError."""
        init = request.container
        assert isinstance(init, LinuxInit)
        try:
            document = _with_terminal(request.document, request.process.terminal)
            with Scratch(init.bundle) as scratch, memory_file(document) as process:
                arguments = ["exec", "--detach", "--process", process.path]
                arguments += ["--pid-file", scratch.pid_file]
                pid, terminal = await self._call(
                    init.runtime, request, arguments, [init.id], scratch, request.process.terminal
                )
        except OSError as error:
            raise LaunchError(f"the process cannot be made: {_said(error)}") from None
        init.cgroup.tell_of(pid)
        return LinuxProcess(pid, init.cgroup, terminal, self._pids.discard)

    async def _call(
        self,
        runtime: OciRuntime,
        request: CreateRequest | ExecRequest,
        arguments: list[str],
        last: list[str],
        scratch: Scratch,
        wants_terminal: bool,
    ) -> tuple[int, int | None]:
        """Make a process; its pid and the master of its terminal, if it has one."""
        streams: tuple[int, ...] = (request.stdin, request.stdout, request.stderr)
        if wants_terminal:
            streams = ()
            arguments = [*arguments, "--console-socket", scratch.listen_for_terminal()]
        await runtime.call(*arguments, *last, streams=streams)
        terminal = scratch.take_terminal() if wants_terminal else None
        pid = scratch.read_pid()
        self._pids.add(pid)
        return pid, terminal

    async def _undo(self, runtime: OciRuntime, request: CreateRequest, root: str | None) -> None:
        from wherry.runtime.linux.cleanup import remove_group

        with contextlib.suppress(LaunchError):
            await runtime.call("delete", "--force", request.id)
        await asyncio.to_thread(remove_group, request.bundle, request.id)
        if root is not None:
            with contextlib.suppress(OSError):
                rootfs.unmount(root)
        note.forget(request.bundle)

    def _runtime(self, config: spec.Spec, options: LinuxOptions) -> OciRuntime:
        path = config.linux.cgroups_path if config.linux else ""
        return OciRuntime(
            program=find_runtime(config, options.program),
            root=self._state,
            # Docker and the CRI name a unit of systemd's where they leave cgroups to it.
            systemd_cgroup=options.systemd_cgroup or (path.count(":") == 2 and "/" not in path),
            files=self._files,
            has_cgroup=bool(path),
        )

    def close(self) -> None:
        """Reap orphans no more. Containers live on."""
        self._orphans.close()


def _with_terminal(document: bytes, terminal: bool) -> bytes:
    """A process as JSON, all of it kept, with or without a terminal."""
    fields = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
    fields["terminal"] = msgspec.Raw(msgspec.json.encode(terminal))
    return msgspec.json.encode(fields)


def _said(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what


def _has_own_pids(config: spec.Spec) -> bool:
    namespaces = config.linux.namespaces or () if config.linux else ()
    return any(one.type == "pid" and not one.path for one in namespaces)


def _cgroup_of(pid: int, id: str) -> Cgroup:
    """The cgroup the runtime has put a process into. Raises LaunchError."""
    ours = of_this_process()
    try:
        with open("/proc/self/mountinfo") as mounts, open(f"/proc/{pid}/cgroup") as cgroup:
            theirs = Hierarchies.parse(mounts.read(), cgroup.read())
    except FileNotFoundError:
        raise LaunchError("the process ended before it was ready") from None
    controller = "" if ours.is_unified else "memory"
    path = theirs.own.get(controller, "/")
    if path in ("/", ours.own.get(controller)):
        # It was left where we are: there is no group that only it is in.
        alone = UnboundedCgroup(f"/wherry/{id}")
        alone.tell_of(pid)
        return alone
    return Cgroup.attach_existing(path)
