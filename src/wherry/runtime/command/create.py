"""`create`, and `run` by a process itself: from a bundle to a container."""

import contextlib
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from wherry.oci import document
from wherry.oci import runtime as spec
from wherry.runtime import messages
from wherry.runtime.command import linux, log, terminal, waiting
from wherry.runtime.command.making import Making
from wherry.runtime.command.options import Arguments, Options, making_arguments
from wherry.runtime.command.record import Record
from wherry.runtime.config import read_config
from wherry.runtime.creation import cgroup_path, clone_flags, make_cgroup, shared_pids
from wherry.runtime.exits import LaunchError, NotWasm
from wherry.runtime.sandbox import namespaces
from wherry.runtime.sandbox import syscalls as sys

if TYPE_CHECKING:
    from wherry.runtime.surroundings import Warmth


class _Container(NamedTuple):
    """A container that waits for `start`; its process is our child until this process ends."""

    record: Record
    pid: int
    pidfd: int
    console: terminal.Console | None


def create(options: Options) -> int:
    """`create --bundle DIR ID`: make a container; its program does not run yet."""
    _create(options, making_arguments(options), "Creator")
    return 0


def run(
    options: Options,
    arguments: Arguments,
    started: Callable[[terminal.Signals], None] | None = None,
) -> int:
    """`run`, by this process itself. `started` is called when a guest runs in the foreground.

    Returns the exit status; raises LaunchError.
    """
    detached = "detach" in arguments
    container = _create(options, arguments, "Creator" if detached else "Attendant")
    with terminal.Signals() as signals:
        _start(container.record)
        if detached:
            return 0
        if started is not None:
            started(signals)
        return _attend(container, arguments, signals.heard)


def run_for(options: Options, heard: socket.socket, warmth: "Warmth") -> int:
    """`run` in the foreground for who is at the other end of `heard`: see `terminal.attend`.

    `warmth` is what stands ready. Returns the exit status; raises LaunchError.
    """
    arguments = making_arguments(options)
    container = _create(options, arguments, "Attendant", warmth)
    _start(container.record)
    return _attend(container, arguments, heard)


def _attend(container: _Container, arguments: Arguments, heard: socket.socket) -> int:
    from wherry.runtime.command import life

    record = container.record
    record.unlock()
    try:
        return terminal.attend(container.pidfd, container.console, heard)
    finally:
        if "keep" not in arguments:
            record.lock()
            life.delete_container(record, force=True)


def _start(record: Record) -> None:
    from wherry.runtime.command import life

    try:
        life.start_container(record)
    except LaunchError:
        life.delete_container(record, force=True)
        raise


def _create(
    options: Options, arguments: Arguments, overseer: str, warmth: "Warmth | None" = None
) -> _Container:
    """Make the container, overseen by the class `overseer`, and tell its caller of it.

    Raises LaunchError, and HandOn if it is not Wasm; nothing is left then.
    """
    identifier = arguments.identifier()
    bundle = os.path.abspath(arguments.value("bundle", "."))
    config = read_config(bundle)
    console_socket = arguments.value("console-socket")
    process = config.process
    wants_terminal = process is not None and process.terminal
    terminal.check(wants_terminal, overseer != "Attendant", console_socket)
    if options.systemd_cgroup:
        _check_slice(config)
    if linux.is_linux(config, bundle):
        linux.hand_on(options, config)
    record = Record.make(options.root, identifier)
    console = None
    try:
        _describe(record, config, bundle)
        if process is not None and process.terminal:
            console = terminal.Console.open(process)
        container = _make(record, config, bundle, console, overseer, warmth)
        if console is not None and console_socket:
            console.hand_to(console_socket)
        write_pid_file(arguments.value("pid-file"), container.pid)
    except NotWasm:
        record.delete()
        linux.hand_on(options, config)
    except OSError as error:
        record.delete()
        raise LaunchError(f"container {identifier} cannot be created: {error}") from None
    except BaseException:
        record.delete()
        raise
    if options.debug:
        log.write(options, "debug", f"container {identifier} created, process {container.pid}")
    return container


def _check_slice(config: spec.Spec) -> None:
    """See that the cgroup is named as for systemd, where systemd's callers look for it."""
    path = config.linux.cgroups_path if config.linux else ""
    if path and path.count(":") != 2:
        raise LaunchError(
            f"--systemd-cgroup needs a cgroupsPath like system.slice:prefix:name, not {path[:80]!r}"
        )


def _describe(record: Record, config: spec.Spec, bundle: str) -> None:
    """Write down what later commands must know of the container. Raises OSError."""
    rootfs = os.path.join(bundle, config.root.path) if config.root else ""
    described = {
        "ociVersion": config.oci_version,
        "id": record.id,
        "bundle": bundle,
        "rootfs": rootfs,
        "created": log.timestamp(),
        "annotations": config.annotations or {},
        "owner": "",
    }
    record.write("container.json", msgspec.json.format(document.encode(described), indent=2))
    record.write("config.json", document.encode(config))
    record.write("cgroup", cgroup_path(record.id, config).encode())


def _make(
    record: Record,
    config: spec.Spec,
    bundle: str,
    console: terminal.Console | None,
    overseer: str,
    warmth: "Warmth | None",
) -> _Container:
    cgroup = make_cgroup(record.id, config)
    hooked = False

    def run_hooks() -> None:
        from wherry.runtime.command import hooking

        # From the first hook on the last ones are owed.
        nonlocal hooked
        hooked = True
        hooking.creating(record, making.pid, cgroup)

    try:
        request = messages.Fork(
            id=record.id,
            bundle=bundle,
            rootfs=[],
            procs_files=cgroup.procs_files,
            namespaces=clone_flags(config, shared_network=False),
        )
        streams = [0, 1, 2] if console is None else [console.slave] * 3
        with (
            waiting.listen(record) as start,
            Making(
                request,
                streams,
                [start.fileno()],
                lambda: _clone(config, request),
                overseer,
                warmth,
            ) as making,
        ):
            cgroup.tell_of(making.pid)
            making.await_ready(cgroup, run_hooks)
            record.set_process(making.pid)
            making.finish()
    except BaseException:
        with contextlib.suppress(OSError):
            cgroup.delete()
        if hooked:
            from wherry.runtime.command import hooking

            hooking.deleted(record)
        raise
    return _Container(record, making.pid, making.pidfd, console)


def _clone(config: spec.Spec, request: messages.Fork) -> tuple[int, int]:
    """Fork into new namespaces, or into none where the kernel gives us none. Raises OSError."""
    try:
        return namespaces.clone_into(shared_pids(config), request.namespaces)
    except PermissionError:
        request.namespaces = 0
        return sys.clone3(0)


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid where the caller wants it, all at once. Raises OSError."""
    if not path:
        return
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    # Made, not found there: in a folder like /tmp it could be a link that somebody else has laid.
    with open(temporary, "x") as file:
        file.write(str(pid))
    os.rename(temporary, path)


COMMANDS = {"create": create}
