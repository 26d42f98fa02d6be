"""`start`, `kill` and `delete`: a created container to its end."""

import os
import select
import signal
import time

from wherry.runtime.command import linux
from wherry.runtime.command.options import Arguments, Options, UsageError
from wherry.runtime.command.record import FAILED, NoContainer, Record
from wherry.runtime.exits import LaunchError

_PATIENCE = 10.0
"""Seconds that `delete --force` waits for a killed process to be gone."""


def start(options: Options) -> int:
    """`start ID`: let the program of a created container run. Returns 0; raises LaunchError."""
    record = linux.find_locked(options, Arguments(options.arguments).identifier())
    start_container(record)
    return 0


def start_container(record: Record) -> None:
    """Let the container of a locked record run. Raises LaunchError."""
    from wherry.runtime.command import waiting

    status, pid = record.status()
    if status != "created":
        done = {"stopped": "has stopped", "creating": "is still being made"}
        raise LaunchError(
            f"cannot start container {record.id}, which {done.get(status, 'has been started')}",
            FAILED,
        )
    if _has_hooks(record, "startContainer"):
        from wherry.runtime.command import hooking

        try:
            hooking.starting(record)
        except LaunchError:
            _end(record)
            raise
    waiting.let_go(record)
    if _has_hooks(record, "poststart"):
        from wherry.runtime.command import hooking

        # It may have ended by now; they are still told whose it was.
        hooking.started(record, pid)


def kill(options: Options) -> int:
    """`kill [--all] ID [SIGNAL]`: send a signal, SIGTERM by default. Raises LaunchError."""
    arguments = Arguments(options.arguments, values="regex|r", switches="all|a")
    if not 1 <= len(arguments.rest) <= 2:
        raise UsageError("kill takes a container id and a signal")
    number = _signal_number(arguments.rest[1] if len(arguments.rest) == 2 else "TERM")
    record = linux.find(options, arguments.rest[0])
    if "all" in arguments:
        _signal_all(record, number)
    elif not _signal_process(record, number):
        raise LaunchError(f"container not running: {record.id}", FAILED)
    return 0


def delete(options: Options) -> int:
    """`delete [--force] ID`: remove what is left of a container. Raises LaunchError.

    With --force it is killed before, and one that does not exist is no error.
    """
    arguments = Arguments(options.arguments, switches="force|f")
    identifier = arguments.identifier()
    force = "force" in arguments
    try:
        record = linux.find_locked(options, identifier)
    except NoContainer:
        if force:
            return 0
        raise
    delete_container(record, force=force)
    return 0


def delete_container(record: Record, *, force: bool) -> None:
    """Remove the container of a locked record, killing it with `force`. Raises LaunchError."""
    status, _ = record.status()
    # As in runc: what never ran holds nothing that could be lost.
    if status not in ("stopped", "created") and not force:
        raise LaunchError(
            f"cannot delete container {record.id} that is not stopped: {status} (try --force)",
            FAILED,
        )
    if status != "stopped":
        _end(record)
    try:
        path = record.cgroup
        if path:
            from wherry.runtime.sandbox.cgroups import Cgroup

            cgroup = Cgroup.attach_existing(path)
            cgroup.kill()
            cgroup.delete()
        if _has_hooks(record, "poststop"):
            from wherry.runtime.command import hooking

            hooking.deleted(record)
        record.delete()
    except OSError as error:
        raise LaunchError(f"cannot delete container {record.id}: {error}", FAILED) from None


def _has_hooks(record: Record, place: str) -> bool:
    """Whether it may have hooks for `place`: asked of the text, for most containers have none and
    decoding costs more than asking.
    """
    return f'"{place}"'.encode() in record.read("config.json")


def _signal_process(record: Record, number: int) -> bool:
    """Signal the container's process; False if it is gone."""
    pid = record.pid
    if not pid:
        return False
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # Looked at again: only now is the number sure to be the container's.
        if record.pid != pid:
            return False
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    if number == signal.SIGKILL and os.path.exists(f"{record.folder}/paused"):
        _thaw(record)
    return True


def _signal_all(record: Record, number: int) -> None:
    path = record.cgroup
    if not path:
        return
    from wherry.runtime.sandbox.cgroups import Cgroup

    cgroup = Cgroup.attach_existing(path)
    if number == signal.SIGKILL:
        cgroup.kill()
    else:
        for pid in cgroup.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
    if not cgroup.procs_files:
        _signal_process(record, number)  # a group that holds nobody knows nobody


def _thaw(record: Record) -> None:
    """A frozen process of cgroup v1 dies only once it is thawed."""
    from wherry.runtime.sandbox.cgroups import Cgroup

    Cgroup.attach_existing(record.cgroup).thaw()
    record.remove("paused")


def _end(record: Record) -> None:
    """Kill the container's process and wait until it is gone. Raises LaunchError."""
    pid = record.pid
    if not pid or not _signal_process(record, signal.SIGKILL):
        return
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        deadline = time.monotonic() + _PATIENCE
        while record.pid == pid:
            left = deadline - time.monotonic()
            if left <= 0:
                raise LaunchError(f"container {record.id} does not die of SIGKILL", FAILED)
            poll.poll(left * 1000)
    finally:
        os.close(pidfd)


def _signal_number(name: str) -> int:
    """The number of a signal given as "15", "TERM" or "SIGTERM". Raises UsageError."""
    if name.isdecimal() and 0 <= int(name) < signal.NSIG:
        return int(name)
    word = name.upper()
    found = getattr(signal, word if word.startswith("SIG") else f"SIG{word}", None)
    if not isinstance(found, signal.Signals):
        raise UsageError(f"unknown signal {name!r}")
    return int(found)


COMMANDS = {"start": start, "kill": kill, "delete": delete}
