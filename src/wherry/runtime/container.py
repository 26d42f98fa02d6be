"""A process of a container, from the fork to the guest's end. Plain blocking code.

It is the container's first, which builds the sandbox, or a further one (exec), which joins it; from
there on both are the same. Order matters. Everything that needs the host (bundle, cgroup, mounts,
compiled code) comes first; then the root changes and every privilege goes; only after that is guest
code linked and run.
"""

import contextlib
import fcntl
import os
import signal
import socket
import termios
from collections.abc import Callable
from functools import partial
from sys import meta_path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from wherry.oci import document
from wherry.oci import runtime as spec
from wherry.runtime import egress, guest_sockets, messages, pod
from wherry.runtime.config import read_config
from wherry.runtime.engines.embedded import Engine, Loaded, Program, Trampolines
from wherry.runtime.engines.memory import BoundedMemories
from wherry.runtime.exits import NOT_FOUND, LaunchError
from wherry.runtime.guest import run_guest
from wherry.runtime.loading import CodeSource
from wherry.runtime.overseer import Shim
from wherry.runtime.program import open_program, without_init
from wherry.runtime.sandbox import capabilities, identity, namespaces, seccomp, sysctls
from wherry.runtime.sandbox import syscalls as sys
from wherry.runtime.sandbox.root import JoinedRoot, MountedRoot, PlainRoot
from wherry.runtime.surroundings import Surroundings
from wherry.runtime.wasi import trampolines

if TYPE_CHECKING:
    from wherry.runtime.hosted import Hosted

_CONTROL = 3
_CONTAINER = 4
"""Of a further process: a pidfd of the container's first."""
_PROCESS = 5
"""Of a further process: what it is to be, an OCI process as JSON."""

_OVERHEAD = 8 << 20
"""Bytes of a memory limit left to the process around the guest's memory, so that a greedy guest is
refused growth (and told so) before the cgroup kills it."""


class _Guest(NamedTuple):
    """What is going to run: `limit` is the bytes its memories may take, `memories` bounds them."""

    name: str
    code: "Loaded | Hosted"
    program: Program
    limit: int | None
    memories: BoundedMemories | None

    @property
    def hosted(self) -> bool:
        """Whether the process becomes another program for it."""
        return not isinstance(self.code, Loaded)

    def prepare(self, out_of_memory: Callable[[], None]) -> Callable[[], int]:
        """Set it up in its sandbox; what is returned runs it. Raises LaunchError."""
        if isinstance(self.code, Loaded):
            instance = self.code.prepare(self.program, self.limit)
            return partial(run_guest, instance, self.memories, out_of_memory)
        return self.code.run


class _Work(NamedTuple):
    """What is left to do once the container is to start; returns the process's exit status.

    `signals`: whether it is for the overseer to see to those sent to the process.
    """

    run: Callable[[], int]
    signals: bool


def run(
    surroundings: Surroundings,
    request: messages.Fork | messages.Join,
    descriptors: list[int],
    overseen_by: type[Shim] = Shim,
) -> NoReturn:
    """Become a process of a container: called in the fresh fork, leaves by os._exit."""
    joins = isinstance(request, messages.Join)
    control = _take_descriptors(descriptors, None if joins else surroundings.no_network)
    overseer = overseen_by(control)
    try:
        work = _prepare(surroundings, request, overseer)
        overseer.await_start(signals=work.signals)
    except LaunchError as error:
        _fail(control, error)
    except (OSError, ValueError) as error:
        verb = "joined" if joins else "built"
        _fail(control, LaunchError(f"the sandbox cannot be {verb}: {error}"))
    os._exit(work.run())


def _take_descriptors(descriptors: list[int], keep: int | None) -> socket.socket:
    """Put what was given at 0, 1, 2, … and close all others but `keep`; returns the control."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in descriptors]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=False)
    last = len(high) - 1
    if keep is not None:
        sys.close_range(last + 1, keep - 1)
        last = keep
    sys.close_range(last + 1, 2**32 - 1)
    return socket.socket(fileno=_CONTROL)


def _prepare(
    surroundings: Surroundings, request: messages.Fork | messages.Join, overseer: Shim
) -> _Work:
    """Build or join the sandbox; what is returned runs what it is for."""
    overseer.tie()
    for procs in request.procs_files:
        _join_cgroup(procs)
    config = read_config(request.bundle)
    if isinstance(request, messages.Fork) and pod.is_sandbox(config):
        surroundings.warmth.title.show((config.process or spec.Process()).args or ())
        pod.prepare(request, config, overseer, surroundings.warmth.filter(sockets=None))
        return _Work(pod.hold, signals=False)
    process, root = _sandbox(surroundings, request, config, overseer)
    guest = _load(surroundings, request, config, process, root, overseer)
    if isinstance(request, messages.Fork):
        namespaces.refuse_user(config)
        if config.hooks and config.hooks.at_creation:
            overseer.await_hooks()
    # From here on a module would come from the container's files.
    meta_path.clear()
    root.enter(guest.program.workdir, executable=not guest.hosted)
    if isinstance(root, MountedRoot):
        namespaces.set_names(config)
    _confine(surroundings, process, guest, overseer)
    return _Work(guest.prepare(overseer.tell_out_of_memory), signals=not guest.hosted)


def _sandbox(
    surroundings: Surroundings,
    request: messages.Fork | messages.Join,
    config: spec.Spec,
    overseer: Shim,
) -> tuple[spec.Process, MountedRoot | JoinedRoot | PlainRoot]:
    """Build or join the sandbox, not yet entered; and what is to run in it."""
    if isinstance(request, messages.Join):
        process = _read_process()
        identity.set_oom_score(process)
        return process, _join(request, config, namespaced=surroundings.namespaced)
    process = _process_of(config)
    identity.set_oom_score(process)
    try:
        return process, _build(surroundings, request, config)
    except (LaunchError, OSError):
        _show_program(surroundings, request, config, overseer)
        raise


def _load(
    surroundings: Surroundings,
    request: messages.Fork | messages.Join,
    config: spec.Spec,
    process: spec.Process,
    root: MountedRoot | JoinedRoot | PlainRoot,
    overseer: Shim,
) -> _Guest:
    """Load the code of the program beneath `root`, and all else that is read from the host."""
    memories, engine = None, surroundings.warmth.engine
    limit = _memory_limit(config.linux or spec.Linux())
    if limit is not None:
        memories = BoundedMemories(limit)
        engine = Engine(memories)
    source = CodeSource(overseer.control, engine, bounded=limit is not None)
    module, name = open_program(root.fd, process)
    code, answer = source.get(module, name)
    facts = answer.facts
    egress.rules(config)  # what cannot be read is told, whoever is to hold it
    if facts.component and facts.sockets:
        egress.require_enforcer(config, "a component")
    workdir, environment = process.cwd or "/", _environment(process)
    sockets = guest_sockets.open_for(facts, config, request, environment, overseer.control)
    variant = trampolines.Variant(
        workdir=workdir != "/" and not (facts.component or facts.reads_pwd),
        sockets=sockets is not None,
    )
    ways = None
    if any(variant):
        front, back = map(source.load_file, surroundings.trampolines(variant))
        ways = Trampolines(variant, front, back)
    program = Program(
        args=process.args or (),
        env=environment,
        network=facts.sockets or sockets is not None,
        preopens=root.preopens,
        workdir=workdir,
        trampolines=ways,
        sockets=sockets,
    )
    if answer.program is None:
        return _Guest(name, source.load(code, facts), program, limit, memories)
    # Here, as few containers need it.
    from wherry.runtime.hosted import Hosted

    hosted = Hosted(code, answer, answer.program, root, surroundings.stage)
    hosted.plan(program.args, program.env, workdir, limit)
    return _Guest(name, hosted, program, limit, memories)


def _confine(
    surroundings: Surroundings, process: spec.Process, guest: _Guest, overseer: Shim
) -> None:
    """Give up every privilege, and all that the guest has no use for."""
    os.setsid()
    if process.terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    identity.set_limits(process)
    if surroundings.namespaced:
        identity.become(process.user)
    sys.prctl(sys.PR_SET_NAME, os.fsencode(os.path.basename(guest.name))[:15])
    surroundings.warmth.title.show(guest.program.args)
    capabilities.drop_all()
    capabilities.set_no_new_privs()
    warmth = surroundings.warmth
    if not isinstance(guest.code, Loaded):
        guest.code.enter()
        overseer.tie_program(warmth.filter(sockets=None))
    else:
        overseer.tie_for_good()
    seccomp.install(warmth.filter(sockets=guest.program.network, hosted=guest.hosted))


def _show_program(
    surroundings: Surroundings, request: messages.Fork, config: spec.Spec, overseer: Shim
) -> None:
    """Show the program to the launcher though the sandbox cannot be built.

    A Linux program may have mounts that are not for guests: then this process is ended by that.
    """
    with contextlib.suppress(LaunchError, OSError):
        target = os.path.join(request.bundle, config.root.path if config.root else "rootfs")
        root = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        source = CodeSource(overseer.control, surroundings.warmth.engine, bounded=False)
        source.get(*open_program(root, _process_of(config)))


def _build(
    surroundings: Surroundings, request: messages.Fork, config: spec.Spec
) -> MountedRoot | PlainRoot:
    """Make the sandbox, as its first process."""
    if not surroundings.namespaced:
        return PlainRoot(config, request.bundle, request.rootfs)
    sysctls.check(config)
    namespaces.join(config, surroundings.no_network)
    sysctls.apply(config)
    if surroundings.no_network is not None:
        os.close(surroundings.no_network)
    return MountedRoot(config, request.bundle, request.rootfs, surroundings.devices())


def _join(request: messages.Join, config: spec.Spec, *, namespaced: bool) -> JoinedRoot | PlainRoot:
    """Get ready to join the sandbox of a running container, as a further process."""
    # Who ends the container kills all that is in its cgroup by then; from now on so are we.
    signal.pidfd_send_signal(_CONTAINER, 0)
    if namespaced:
        return JoinedRoot(request.container, _CONTAINER)
    os.close(_CONTAINER)
    return PlainRoot(config, request.bundle, request.rootfs, running=True)


def _process_of(config: spec.Spec) -> spec.Process:
    if config.process is None:
        raise LaunchError("the bundle names no program to run (process)", NOT_FOUND)
    return without_init(config.process)


def _read_process() -> spec.Process:
    with open(_PROCESS, "rb") as file:
        file.seek(0)
        content = file.read()
    try:
        return document.decode(content, spec.Process, "the process to run", len(content))
    except document.InvalidDocument as error:
        raise LaunchError(str(error)) from None


def _fail(control: socket.socket, error: LaunchError) -> NoReturn:
    try:
        messages.send(control, messages.Failed(error.message[:4000], error.exit_code))
    finally:
        os._exit(error.exit_code)


def _join_cgroup(procs: str) -> None:
    with open(procs, "wb", buffering=0) as file:
        file.write(b"0")


def _memory_limit(linux: spec.Linux) -> int | None:
    memory = linux.resources.memory if linux.resources else None
    if memory is None or memory.limit is None or memory.limit <= 0:
        return None
    return max(memory.limit - _OVERHEAD, memory.limit // 2)


def _environment(process: spec.Process) -> list[str]:
    env = list(process.env or ())
    if process.cwd not in ("", "/") and not any(entry.startswith("PWD=") for entry in env):
        # WASI 0.1 has no working directory; Go and others take it from PWD.
        env.append(f"PWD={process.cwd}")
    return env
