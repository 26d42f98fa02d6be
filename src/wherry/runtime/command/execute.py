"""`exec`: one more process in a container."""

import os

import msgspec

from wherry.oci import document
from wherry.oci import runtime as spec
from wherry.runtime import messages
from wherry.runtime.command import linux, terminal
from wherry.runtime.command.create import write_pid_file
from wherry.runtime.command.making import Making
from wherry.runtime.command.options import Arguments, Options, UsageError
from wherry.runtime.command.record import FAILED, Record
from wherry.runtime.exits import LaunchError
from wherry.runtime.sandbox import namespaces
from wherry.runtime.sandbox.cgroups import Cgroup

_OPTIONS = (
    "process|p cwd env|e user|u additional-gids|g pid-file console-socket preserve-fds"
    " process-label apparmor cap|c cgroup"
)
_SWITCHES = "tty|t detach|d no-new-privs ignore-paused no-subreaper"
"""Capabilities, labels and profiles change nothing: a guest has no capabilities, whoever asks."""

_MAX_PROCESS = 16 << 20


def execute(options: Options) -> int:
    """`exec ID ARGUMENTS` or `exec --process FILE ID`: run one more process in a container.

    Returns its exit status; with --detach, 0 as soon as it runs.
    """
    arguments = Arguments(options.arguments, values=_OPTIONS, switches=_SWITCHES)
    if not arguments.rest:
        raise UsageError("exec takes a container id and what to run")
    record = linux.find(options, arguments.rest[0])
    first = _first_process(record, ignore_paused="ignore-paused" in arguments)
    process = _process(record, arguments)
    detached = "detach" in arguments
    console_socket = arguments.value("console-socket")
    terminal.check(process.terminal, detached, console_socket)
    cgroup = Cgroup.attach_existing(record.cgroup)
    try:
        console = terminal.Console.open(process) if process.terminal else None
        with _fork(record, first, process, cgroup, console, detached=detached) as making:
            making.await_ready(cgroup)
            if console is not None and console_socket:
                console.hand_to(console_socket)
            write_pid_file(arguments.value("pid-file"), making.pid)
            if detached:
                making.finish()
                return 0
            with terminal.Signals() as signals:
                making.finish()
                return terminal.attend(making.pidfd, console, signals.heard)
    except OSError as error:
        raise LaunchError(f"nothing can be run in container {record.id}: {error}") from None


def _first_process(record: Record, *, ignore_paused: bool) -> int:
    """The pid of the container's first process. Raises LaunchError if none is to be joined."""
    status, pid = record.status()
    if status == "paused" and not ignore_paused:
        raise LaunchError(
            f"cannot exec in a paused container: {record.id} (--ignore-paused waits)", FAILED
        )
    if not pid:
        raise LaunchError(f"container not running: {record.id} is {status}", FAILED)
    return pid


def _process(record: Record, arguments: Arguments) -> spec.Process:
    """What is to be run: a file's, or the container's own process with other arguments."""
    path = arguments.value("process")
    words = arguments.rest[1:]
    try:
        if path:
            with open(path, "rb") as file:
                content = file.read(_MAX_PROCESS + 1)
            return document.decode(content, spec.Process, path, _MAX_PROCESS)
        if not words:
            raise UsageError("exec needs a command to run, or --process")
        config = document.decode(record.read("config.json"), spec.Spec, "config.json", _MAX_PROCESS)
    except OSError as error:
        raise LaunchError(f"{path}: {error.strerror}", FAILED) from None
    except document.InvalidDocument as error:
        raise LaunchError(str(error), FAILED) from None
    process = config.process or spec.Process()
    process.args = words
    process.terminal = "tty" in arguments
    process.cwd = arguments.value("cwd", process.cwd)
    process.env = [*(process.env or ()), *arguments.values("env")]
    if "user" in arguments:
        process.user = _user(arguments)
    return process


def _user(arguments: Arguments) -> spec.User:
    uid, _, gid = arguments.value("user").partition(":")
    try:
        groups = [int(group) for group in arguments.values("additional-gids")]
        return spec.User(uid=int(uid), gid=int(gid or 0), additional_gids=groups)
    except ValueError:
        raise UsageError("--user is UID or UID:GID, and --additional-gids a number") from None


def _fork(
    record: Record,
    first: int,
    process: spec.Process,
    cgroup: Cgroup,
    console: terminal.Console | None,
    *,
    detached: bool,
) -> Making:
    """Begin to make the process. Raises LaunchError and OSError."""
    request = messages.Join(
        bundle=record.bundle, rootfs=[], procs_files=cgroup.procs_files, container=first
    )
    pidfd = os.pidfd_open(first)
    description = os.memfd_create("process")
    try:
        os.write(description, msgspec.json.encode(process))
        return Making(
            request,
            [0, 1, 2] if console is None else [console.slave] * 3,
            [pidfd, description],
            lambda: namespaces.clone_beside(first, pidfd, 0),
            "Detached" if detached else "Foreground",
        )
    finally:
        os.close(pidfd)
        os.close(description)


COMMANDS = {"exec": execute}
