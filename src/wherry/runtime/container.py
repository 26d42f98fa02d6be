"""The container's process, from the fork to the guest's end. Plain blocking code.

Order matters. Everything that needs the host (bundle, cgroup, mounts, compiled code) comes first;
then the root changes and every privilege goes; only after that is guest code linked and run.
"""

import contextlib
import fcntl
import os
import resource
import signal
import socket
import termios
from typing import NoReturn

from wherry import oci
from wherry.oci import runtime as spec
from wherry.runtime import messages
from wherry.runtime.code import CompiledCode
from wherry.runtime.config import read_config
from wherry.runtime.engines.capi import GuestError
from wherry.runtime.engines.embedded import Engine, Instance, Loaded, Program
from wherry.runtime.engines.memory import BoundedMemories
from wherry.runtime.exits import ENGINE_FAILED, NOT_FOUND, NOT_RUNNABLE, TRAPPED, LaunchError
from wherry.runtime.sandbox import capabilities, devices, mounts, seccomp
from wherry.runtime.sandbox import syscalls as sys
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

    def __init__(self, state: str) -> None:
        self.engine = Engine()
        for component in (False, True):
            self.engine.linker(component)
        # Decoding for the first time builds tables that every container would build anew.
        oci.decode(b'{"ociVersion": "1.1.0"}', spec.Spec, "warm-up")
        self.filters = {sockets: seccomp.build(allow_sockets=sockets) for sockets in (False, True)}
        self.devices = f"{state}/dev"
        devices.prepare(self.devices)
        self.empty_network = _empty_network()
        self.trampolines = trampolines.write(state)


def _empty_network() -> int:
    """A network namespace with nothing in it, shared by all containers that have no network."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    sys.unshare(sys.CLONE_NEWNET)
    empty = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    sys.setns(own, sys.CLONE_NEWNET)
    os.close(own)
    return empty


def run(surroundings: Surroundings, request: messages.Fork, descriptors: list[int]) -> NoReturn:
    """Become the container: called in the fresh fork, leaves by os._exit."""
    control = _take_descriptors(surroundings, descriptors)
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


def _take_descriptors(surroundings: Surroundings, descriptors: list[int]) -> socket.socket:
    """Put stdin, stdout, stderr and control at 0 to 3 and close all others but the namespace's."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in descriptors]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=False)
    empty_network = surroundings.empty_network
    sys.close_range(_CONTROL + 1, empty_network - 1)
    sys.close_range(max(_CONTROL, empty_network) + 1, 2**32 - 1)
    return socket.socket(fileno=_CONTROL)


def _prepare(
    surroundings: Surroundings, request: messages.Fork, control: socket.socket
) -> tuple[Instance, BoundedMemories | None]:
    sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)
    for procs in request.procs_files:
        _join_cgroup(procs)
    config = read_config(request.bundle)
    process = config.process
    if process is None or not process.args:
        raise LaunchError("the bundle names no program to run (process.args)", NOT_FOUND)
    linux = config.linux or spec.Linux()
    _join_namespaces(surroundings, linux)
    if process.oom_score_adj is not None:
        _write_oom_score(process.oom_score_adj)

    target = os.path.join(request.bundle, config.root.path if config.root else "rootfs")
    mounts.mount_root(request.rootfs, target)
    root = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    _mount_all(surroundings, config, root)
    module, name = find_module(root, process)
    code = _ask_for_code(control, module, name)

    memories = None
    engine = surroundings.engine
    limit = _memory_limit(linux)
    if limit is not None:
        memories = BoundedMemories(limit)
        engine = Engine(memories)
    loaded = _load(engine, code)
    tramps = None
    if process.cwd not in ("", "/") and not (code.facts.component or code.facts.reads_pwd):
        front, back = (
            _load(engine, _ask_for_code(control, os.open(path, os.O_RDONLY | os.O_CLOEXEC), path))
            for path in surroundings.trampolines
        )
        tramps = (front, back)

    _make_workdir(root, process.cwd)
    _enter_root(root)
    if config.root is not None and config.root.readonly:
        sys.mount_setattr(".", sys.MOUNT_ATTR_RDONLY, recursive=False)
    sys.pivot_root(".", ".")
    sys.umount2(".", sys.MNT_DETACH)
    _enter_workdir(process.cwd)
    if config.hostname:
        sys.sethostname(config.hostname)
    if config.domainname:
        sys.setdomainname(config.domainname)

    os.setsid()
    if process.terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    _set_limits(process)
    _become(process.user)
    sys.prctl(sys.PR_SET_NAME, os.fsencode(os.path.basename(name))[:15])
    capabilities.drop_all()
    capabilities.set_no_new_privs()
    # The kernel forgets the parent-death signal when credentials change.
    sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)
    seccomp.install(surroundings.filters[code.facts.sockets])
    program = Program(
        args=process.args,
        env=_environment(process),
        network=code.facts.sockets,
        workdir=process.cwd or "/",
        trampolines=tramps,
    )
    return loaded.prepare(program, limit), memories


def find_module(root: int, process: spec.Process) -> tuple[int, str]:
    """Open the program named by `process.args[0]` inside `root`; returns it and its path.

    A bare name is looked for in the working directory, at the root and along PATH. Raises
    LaunchError (127 if there is none, 126 if it is no file that can be read).
    """
    assert process.args
    name = process.args[0]
    path = next(
        (entry[5:] for entry in process.env or () if entry.startswith("PATH=")), "/usr/bin:/bin"
    )
    candidates = [name] if name.startswith("/") else [os.path.join(process.cwd, name), f"/{name}"]
    if "/" not in name:
        candidates += [os.path.join(folder, name) for folder in path.split(":") if folder]
    for candidate in candidates:
        try:
            module = sys.openat2(root, candidate, os.O_RDONLY | os.O_NONBLOCK, sys.RESOLVE_IN_ROOT)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise LaunchError(f'exec: "{name}": {error.strerror}', NOT_RUNNABLE) from None
        if not os.path.isfile(f"/proc/self/fd/{module}"):
            raise LaunchError(f'exec: "{name}": is not a file', NOT_RUNNABLE)
        return module, candidate
    raise LaunchError(f'exec: "{name}": no such file in the container', NOT_FOUND)


def _ask_for_code(control: socket.socket, module: int, name: str) -> CompiledCode:
    messages.send(control, messages.NeedCode(name), [module])
    os.close(module)
    packet, descriptors = messages.receive(control)
    if not packet:
        os._exit(ENGINE_FAILED)
    answer = messages.decode_any(packet)
    if isinstance(answer, messages.Failed):
        raise LaunchError(answer.message, answer.exit_code)
    if not isinstance(answer, messages.Code) or len(descriptors) != 1:
        raise LaunchError("the shim answered with something else than code")
    return CompiledCode(descriptors[0], answer.facts)


def _load(engine: Engine, code: CompiledCode) -> Loaded:
    # wasmtime maps code by its path, which is out of reach once the root has changed.
    loaded = engine.load(f"/proc/self/fd/{code.descriptor}", code.facts.component)
    os.close(code.descriptor)
    return loaded


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


def _join_cgroup(procs: str) -> None:
    with open(procs, "wb", buffering=0) as file:
        file.write(b"0")


def _join_namespaces(surroundings: Surroundings, linux: spec.Linux) -> None:
    for namespace in linux.namespaces or ():
        if namespace.type == "network":
            if namespace.path:
                fd = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
                sys.setns(fd, sys.CLONE_NEWNET)
                os.close(fd)
            else:
                sys.setns(surroundings.empty_network, sys.CLONE_NEWNET)
        elif namespace.path and namespace.type in ("ipc", "uts"):
            kind = {"ipc": sys.CLONE_NEWIPC, "uts": sys.CLONE_NEWUTS}[namespace.type]
            fd = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
            sys.setns(fd, kind)
            os.close(fd)
    os.close(surroundings.empty_network)


def _mount_all(surroundings: Surroundings, config: spec.Spec, root: int) -> None:
    for mount in config.mounts or ():
        if mount.type in mounts.KERNEL_FILESYSTEMS:
            continue
        if mount.type == "tmpfs" and mount.destination.startswith("/dev"):
            continue
        mounts.mount_into(root, mount)
    try:
        target = mounts.make_beneath(root, "/dev", directory=True)
    except OSError:
        return  # a read-only root without /dev: the guest does without
    sys.mount(surroundings.devices, f"/proc/self/fd/{target}", "", sys.MS_BIND | sys.MS_REC)
    os.close(target)


def _memory_limit(linux: spec.Linux) -> int | None:
    memory = linux.resources.memory if linux.resources else None
    if memory is None or memory.limit is None or memory.limit <= 0:
        return None
    return max(memory.limit - _OVERHEAD, memory.limit // 2)


def _make_workdir(root: int, cwd: str) -> None:
    try:
        os.close(mounts.make_beneath(root, cwd or "/", directory=True))
    except OSError as error:
        raise LaunchError(
            f"the working directory {cwd} cannot be made: {error.strerror}", NOT_FOUND
        ) from None


def _enter_root(root: int) -> None:
    os.fchdir(root)
    os.close(root)


def _enter_workdir(cwd: str) -> None:
    try:
        os.chdir(cwd or "/")
    except OSError as error:
        raise LaunchError(
            f"the working directory {cwd} cannot be entered: {error.strerror}", NOT_RUNNABLE
        ) from None


def _set_limits(process: spec.Process) -> None:
    for limit in process.rlimits or ():
        kind = getattr(resource, limit.type, None)
        if not isinstance(kind, int):
            raise LaunchError(f"there is no resource limit {limit.type}")
        _, hard = resource.getrlimit(kind)
        # Without CAP_SYS_RESOURCE a hard limit only goes down: then it stays where it is.
        ceiling = limit.hard if hard == resource.RLIM_INFINITY else min(limit.hard, hard)
        resource.setrlimit(kind, (min(limit.soft, ceiling), ceiling))


def _become(user: spec.User) -> None:
    if user.umask is not None:
        os.umask(user.umask)
    with contextlib.suppress(PermissionError):  # a user namespace with one id maps no groups
        os.setgroups(user.additional_gids or [])
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)


def _environment(process: spec.Process) -> list[str]:
    env = list(process.env or ())
    if process.cwd not in ("", "/") and not any(entry.startswith("PWD=") for entry in env):
        # WASI 0.1 has no working directory; Go and others take it from PWD.
        env.append(f"PWD={process.cwd}")
    return env


def _write_oom_score(score: int) -> None:
    # Lowering it needs CAP_SYS_RESOURCE.
    with contextlib.suppress(PermissionError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(score))


def _forward_signals(control: socket.socket) -> None:
    """Tell the shim about signals sent straight to this process: it ends the container for them.

    No Python handler runs while the guest does, but the number is written by the C handler.
    """
    control.setblocking(False)
    signal.set_wakeup_fd(control.fileno(), warn_on_full_buffer=False)
    for number in _FORWARDED:
        signal.signal(number, lambda *_: None)
