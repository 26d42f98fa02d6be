"""The container's process, from the fork to the guest's end. Plain blocking code.

Order matters. Everything that needs the host (bundle, cgroup, mounts, compiled code) comes first;
then the root changes and every privilege goes; only after that is guest code linked and run.
"""

import contextlib
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
from wherry.runtime.engines.capi import GuestError
from wherry.runtime.engines.embedded import Engine, Instance, Loaded, Program
from wherry.runtime.engines.memory import BoundedMemories
from wherry.runtime.exits import ENGINE_FAILED, NOT_FOUND, TRAPPED, LaunchError
from wherry.runtime.facts import Facts
from wherry.runtime.program import open_program
from wherry.runtime.sandbox import capabilities, devices, identity, namespaces, seccomp
from wherry.runtime.sandbox import syscalls as sys
from wherry.runtime.sandbox.root import MountedRoot, PlainRoot
from wherry.runtime.wasi import trampolines

_CONTROL = 3
_OVERHEAD = 8 << 20
"""Bytes of a memory limit left to the process around the guest's memory, so that a greedy guest is
refused growth (and told so) before the cgroup kills it."""

_FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTERM,
)


class Surroundings:
    """What the zygote prepares once for all containers it forks."""

    def __init__(self, state: str, *, namespaced: bool) -> None:
        self.engine = Engine()
        for component in (False, True):
            self.engine.linker(component)
        # Decoding for the first time builds tables that every container would build anew.
        oci.decode(b'{"ociVersion": "1.1.0"}', spec.Spec, "warm-up")
        self.filters = {sockets: seccomp.build(allow_sockets=sockets) for sockets in (False, True)}
        self.trampolines = trampolines.write(state)
        self.devices = f"{state}/dev" if namespaced else None
        self.no_network: int | None = None
        if self.devices is not None:
            devices.prepare(self.devices)
            self.no_network = namespaces.empty_network()


def run(surroundings: Surroundings, request: messages.Fork, descriptors: list[int]) -> NoReturn:
    """Become the container: called in the fresh fork, leaves by os._exit."""
    control = _take_descriptors(descriptors, surroundings.no_network)
    try:
        instance, memories = _prepare(surroundings, request, control)
        messages.send(control, messages.Ready())
        if control.recv(1) != messages.START:
            os._exit(ENGINE_FAILED)
        _forward_signals(control)
    except LaunchError as error:
        _fail(control, error)
    except (OSError, ValueError) as error:
        _fail(control, LaunchError(f"the sandbox cannot be built: {error}"))
    os._exit(_run_guest(instance, memories))


def _take_descriptors(descriptors: list[int], keep: int | None) -> socket.socket:
    """Put stdin, stdout, stderr and control at 0 to 3 and close all others but `keep`."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in descriptors]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=False)
    last = _CONTROL
    if keep is not None:
        sys.close_range(_CONTROL + 1, keep - 1)
        last = keep
    sys.close_range(last + 1, 2**32 - 1)
    return socket.socket(fileno=_CONTROL)


def _prepare(
    surroundings: Surroundings, request: messages.Fork, control: socket.socket
) -> tuple[Instance, BoundedMemories | None]:
    _die_with_shim()
    for procs in request.procs_files:
        _join_cgroup(procs)
    config = read_config(request.bundle)
    process = config.process
    if process is None:
        raise LaunchError("the bundle names no program to run (process)", NOT_FOUND)
    linux = config.linux or spec.Linux()
    workdir = process.cwd or "/"
    identity.set_oom_score(process)
    root: MountedRoot | PlainRoot
    if surroundings.devices is not None and surroundings.no_network is not None:
        namespaces.join(config, surroundings.no_network)
        os.close(surroundings.no_network)
        root = MountedRoot(config, request.bundle, request.rootfs, surroundings.devices)
    else:
        root = PlainRoot(config, request.bundle, request.rootfs)
    memories, engine = None, surroundings.engine
    limit = _memory_limit(linux)
    if limit is not None:
        memories = BoundedMemories(limit)
        engine = Engine(memories)
    source = _CodeSource(control, engine, bounded=limit is not None)
    module, name = open_program(root.fd, process)
    loaded, facts = source.load(module, name)
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
    if surroundings.no_network is not None:
        _set_names(config)
    os.setsid()
    if process.terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    identity.set_limits(process)
    if surroundings.no_network is not None:
        identity.become(process.user)
    sys.prctl(sys.PR_SET_NAME, os.fsencode(os.path.basename(name))[:15])
    capabilities.drop_all()
    capabilities.set_no_new_privs()
    # The kernel forgets the parent-death signal when credentials change.
    _die_with_shim()
    seccomp.install(surroundings.filters[facts.sockets])
    return loaded.prepare(program, limit), memories


class _CodeSource:
    """Gets compiled code from the shim and loads it."""

    def __init__(self, control: socket.socket, engine: Engine, *, bounded: bool) -> None:
        self._control = control
        self._engine = engine
        self._bounded = bounded

    def load(self, module: int, name: str) -> tuple[Loaded, Facts]:
        """Load the code of the module open as `module`, which is closed. Raises LaunchError."""
        messages.send(self._control, messages.NeedCode(name, self._bounded), [module])
        os.close(module)
        packet, descriptors = messages.receive(self._control)
        if not packet:
            os._exit(ENGINE_FAILED)
        answer = messages.decode_any(packet)
        if isinstance(answer, messages.Failed):
            raise LaunchError(answer.message, answer.exit_code)
        if not isinstance(answer, messages.Code) or len(descriptors) != 1:
            raise LaunchError("the shim answered with something else than code")
        # wasmtime maps code by its path, which is out of reach once the root has changed.
        path = f"/proc/self/fd/{descriptors[0]}"
        loaded = self._engine.load(path, answer.facts.component)
        os.close(descriptors[0])
        return loaded, answer.facts

    def load_file(self, path: str) -> Loaded:
        """Load the code of a module of wherry's own."""
        return self.load(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)[0]


def _run_guest(instance: Instance, memories: BoundedMemories | None) -> int:
    try:
        status = instance.run()
    except LaunchError as error:
        _say(error.message)
        return error.exit_code
    except GuestError as trap:
        _say(_explain(trap.message))
        status = TRAPPED
    if status != 0 and memories is not None and memories.refused:
        _say(
            f"the guest was refused memory: it asked for {_mib(memories.refused)} in all, "
            f"its limit is {_mib(memories.limit)} (raise it with --memory)"
        )
    return status & 0xFF


def _explain(message: str) -> str:
    """wasmtime's message with its cause in front of the backtrace."""
    backtrace, caused, causes = message.partition("\nCaused by:\n")
    if not caused:
        return f"trap: {message.strip()}"
    cause = causes.strip().splitlines()[-1].strip().removeprefix("wasm trap: ")
    return f"trap: {cause}\n{backtrace.rstrip()}"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"wherry: {text}\n".encode())


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


def _forward_signals(control: socket.socket) -> None:
    """Tell the shim about signals sent straight to this process: it ends the container for them.

    No Python handler runs while the guest does, but the number is written by the C handler.
    """
    control.setblocking(False)
    signal.set_wakeup_fd(control.fileno(), warn_on_full_buffer=False)
    for number in _FORWARDED:
        signal.signal(number, lambda *_: None)
