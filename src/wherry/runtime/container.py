"""A process of a container, from the fork to the guest's end. Plain blocking code.

It is the container's first, which builds the sandbox, or a further one (exec), which joins it; from
there on both are the same. Order matters. Everything that needs the host (bundle, cgroup, mounts,
compiled code) comes first; then the root changes and every privilege goes; only after that is guest
code linked and run.
"""

import fcntl
import os
import signal
import socket
import termios
from typing import NoReturn

from wherry import oci
from wherry.oci import runtime as spec
from wherry.runtime import messages
from wherry.runtime.config import read_config
from wherry.runtime.engines.embedded import Engine, Instance, Program
from wherry.runtime.engines.memory import BoundedMemories
from wherry.runtime.exits import ENGINE_FAILED, NOT_FOUND, LaunchError
from wherry.runtime.guest import forward_signals, run_guest
from wherry.runtime.loading import CodeSource
from wherry.runtime.program import open_program
from wherry.runtime.sandbox import capabilities, devices, identity, namespaces, seccomp
from wherry.runtime.sandbox import syscalls as sys
from wherry.runtime.sandbox.root import JoinedRoot, MountedRoot, PlainRoot
from wherry.runtime.wasi import trampolines

_CONTROL = 3
_CONTAINER = 4
"""Of a further process: a pidfd of the container's first."""
_PROCESS = 5
"""Of a further process: what it is to be, an OCI process as JSON."""

_OVERHEAD = 8 << 20
"""Bytes of a memory limit left to the process around the guest's memory, so that a greedy guest is
refused growth (and told so) before the cgroup kills it."""


class Warmth:
    """What costs time to make and belongs to no namespace: a zygote may be forked with it."""

    def __init__(self) -> None:
        self.engine = Engine()
        for component in (False, True):
            self.engine.linker(component)
        # Decoding for the first time builds tables that every container would build anew.
        oci.decode(b'{"ociVersion": "1.1.0"}', spec.Spec, "warm-up")
        self.filters = {sockets: seccomp.build(allow_sockets=sockets) for sockets in (False, True)}


class Surroundings:
    """What the zygote prepares once for all containers it forks."""

    def __init__(self, state: str, warmth: Warmth, *, namespaced: bool) -> None:
        self.engine = warmth.engine
        self.filters = warmth.filters
        self.trampolines = trampolines.write(state)
        self.devices = f"{state}/dev" if namespaced else None
        self.no_network: int | None = None
        if self.devices is not None:
            devices.prepare(self.devices)
            self.no_network = namespaces.empty_network()


def run(
    surroundings: Surroundings, request: messages.Fork | messages.Join, descriptors: list[int]
) -> NoReturn:
    """Become a process of a container: called in the fresh fork, leaves by os._exit."""
    joins = isinstance(request, messages.Join)
    control = _take_descriptors(descriptors, None if joins else surroundings.no_network)
    try:
        instance, memories = _prepare(surroundings, request, control)
        messages.send(control, messages.Ready())
        if control.recv(1) != messages.START:
            os._exit(ENGINE_FAILED)
        forward_signals(control)
    except LaunchError as error:
        _fail(control, error)
    except (OSError, ValueError) as error:
        verb = "joined" if joins else "built"
        _fail(control, LaunchError(f"the sandbox cannot be {verb}: {error}"))
    os._exit(run_guest(instance, memories))


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
    surroundings: Surroundings, request: messages.Fork | messages.Join, control: socket.socket
) -> tuple[Instance, BoundedMemories | None]:
    _die_with_shim()
    for procs in request.procs_files:
        _join_cgroup(procs)
    config = read_config(request.bundle)
    namespaced = surroundings.no_network is not None
    root: MountedRoot | JoinedRoot | PlainRoot
    if isinstance(request, messages.Join):
        process = _read_process()
        identity.set_oom_score(process)
        root = _join(request, config, namespaced=namespaced)
    else:
        process = _process_of(config)
        identity.set_oom_score(process)
        root = _build(surroundings, request, config)
    memories, engine = None, surroundings.engine
    limit = _memory_limit(config.linux or spec.Linux())
    if limit is not None:
        memories = BoundedMemories(limit)
        engine = Engine(memories)
    source = CodeSource(control, engine, bounded=limit is not None)
    module, name = open_program(root.fd, process)
    loaded, facts = source.load(module, name)
    workdir = process.cwd or "/"
    program = Program(
        args=process.args or (),
        env=_environment(process),
        network=facts.sockets,
        preopens=root.preopens,
        workdir=workdir,
    )
    if workdir != "/" and not (facts.component or facts.reads_pwd):
        front, back = (source.load_file(path) for path in surroundings.trampolines)
        program.trampolines = (front, back)

    root.enter(workdir)
    if namespaced and isinstance(root, MountedRoot):
        _set_names(config)
    os.setsid()
    if process.terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    identity.set_limits(process)
    if namespaced:
        identity.become(process.user)
    sys.prctl(sys.PR_SET_NAME, os.fsencode(os.path.basename(name))[:15])
    capabilities.drop_all()
    capabilities.set_no_new_privs()
    # The kernel forgets the parent-death signal when credentials change.
    _die_with_shim()
    seccomp.install(surroundings.filters[facts.sockets])
    return loaded.prepare(program, limit), memories


def _build(
    surroundings: Surroundings, request: messages.Fork, config: spec.Spec
) -> MountedRoot | PlainRoot:
    """Make the sandbox, as its first process."""
    if surroundings.devices is None or surroundings.no_network is None:
        return PlainRoot(config, request.bundle, request.rootfs)
    namespaces.join(config, surroundings.no_network)
    os.close(surroundings.no_network)
    return MountedRoot(config, request.bundle, request.rootfs, surroundings.devices)


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
    return config.process


def _read_process() -> spec.Process:
    with open(_PROCESS, "rb") as file:
        file.seek(0)
        content = file.read()
    try:
        return oci.decode(content, spec.Process, "the process to run", len(content))
    except oci.InvalidDocument as error:
        raise LaunchError(str(error)) from None


def _fail(control: socket.socket, error: LaunchError) -> NoReturn:
    try:
        messages.send(control, messages.Failed(error.message[:4000], error.exit_code))
    finally:
        os._exit(error.exit_code)


def _die_with_shim() -> None:
    sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)


def _join_cgroup(procs: str) -> None:
    with open(procs, "wb", buffering=0) as file:
        file.write(b"0")


def _set_names(config: spec.Spec) -> None:
    if config.hostname:
        sys.sethostname(config.hostname)
    if config.domainname:
        sys.setdomainname(config.domainname)


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
