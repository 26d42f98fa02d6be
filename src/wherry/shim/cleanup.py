"""`delete`: clean up after a task whose shim is gone, or no longer heeded."""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from typing import TypeVar

from wherry.pids import process_start
from wherry.runtime.linux import NOTE
from wherry.shim.group import Group
from wherry.shim.messages import (
    TASK_SERVICES,
    DeleteResponse,
    KillRequest,
    ProcessRequest,
    WaitResponse,
)
from wherry.shim.places import TASK_NOTE, CommandError, linux_folder
from wherry.shim.protobuf import Empty, InvalidMessage, Message
from wherry.shim.ttrpc import CallError, Code
from wherry.shim.ttrpc.connection import ClientConnection

_PATIENCE = 10.0
_KILLED = 128 + signal.SIGKILL

M = TypeVar("M", bound=Message)


def delete(namespace: str, address: str, id: str, bundle: str) -> DeleteResponse | None:
    """End a task of which only the bundle's notes tell, and remove what it used.

    None when there is nothing to tell, as after each deletion that went well. Raises CommandError.
    """
    note = _read_note(bundle)
    group = Group.of_bundle(namespace, address, bundle)
    answer = None
    is_linux = os.path.lexists(f"{bundle}/{NOTE}")
    if note is not None or is_linux:
        answer = _delete_by_server(group, id)
        if answer is None:
            pid, start, cgroup = note or (0, "", "")
            if is_linux:
                _delete_linux(bundle, id, namespace, cgroup)
            answer = _delete_by_hand(pid, start, cgroup)
            if pid and not is_linux:
                _run_last_hooks(bundle, id)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{bundle}/{TASK_NOTE}")
    with group.locked():
        if not group.is_served():
            group.clear()
    return answer


def _read_note(bundle: str) -> tuple[int, str, str] | None:
    try:
        pid, start, cgroup = os.readlink(f"{bundle}/{TASK_NOTE}").split(" ", 2)
        return int(pid), start, cgroup
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CommandError(f"{bundle}/{TASK_NOTE}: {error}") from None


def _delete_by_server(group: Group, id: str) -> DeleteResponse | None:
    """Have a live server end and forget the task. None if it is dead or does not know the task."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(group.socket)
            caller = _Caller(connection)
            with contextlib.suppress(CallError):
                caller.call("Kill", KillRequest(id=id, signal=signal.SIGKILL, all=True), Empty)
            caller.call("Wait", ProcessRequest(id=id), WaitResponse)
            return caller.call("Delete", ProcessRequest(id=id), DeleteResponse)
        except (OSError, CallError, InvalidMessage):
            return None


class _Caller:
    """Calls one method after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._machine = ClientConnection()

    def call(self, method: str, request: Message, answer: type[M]) -> M:
        stream, data = self._machine.call(TASK_SERVICES[0], method, request.encode())
        self._connection.sendall(data)
        while data := self._connection.recv(64 << 10):
            for reply in self._machine.receive(data):
                if reply.stream == stream:
                    if reply.error is not None:
                        raise reply.error
                    return answer.decode(reply.payload)
        raise CallError(Code.UNAVAILABLE, "the connection broke")


def _delete_linux(bundle: str, id: str, namespace: str, cgroup: str) -> None:
    """Have a Linux container's runtime delete it: it does not die with its shim."""
    from wherry.runtime import LaunchError
    from wherry.runtime.linux.cleanup import delete

    try:
        delete(bundle, id, linux_folder(namespace), cgroup)
    except LaunchError as error:
        raise CommandError(str(error)) from None


def _delete_by_hand(pid: int, start: str, cgroup: str) -> DeleteResponse:
    # A Wasm container dies with its shim; this is for one that is still about to.
    if pid and process_start(pid) == start:
        with contextlib.suppress(ProcessLookupError):
            _kill(pid)
    if cgroup:
        from wherry.runtime.sandbox.cgroups import Cgroup, CgroupError

        try:
            group = Cgroup.attach_existing(cgroup)
            group.kill()
            group.delete()
        except (CgroupError, OSError) as error:
            raise CommandError(str(error)) from None
    return DeleteResponse(pid=pid, exit_status=_KILLED, exited_at=time.time_ns())


def _run_last_hooks(bundle: str, id: str) -> None:
    """What is to run once a container is gone; a hook that fails is warned of."""
    from wherry.runtime import LaunchError
    from wherry.runtime.config import read_config

    try:
        config = read_config(bundle)
    except LaunchError:
        return  # nobody can tell any more which hooks there were; all else is to be cleaned up
    if config.hooks is not None:
        from wherry.runtime.hooks import ContainerHooks, run_and_warn

        jobs = ContainerHooks(config, id, os.path.abspath(bundle)).deleted()
        run_and_warn(jobs, lambda line: print(f"wherry-shim: {line}", file=sys.stderr))


def _kill(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(_PATIENCE * 1000):
            raise CommandError(f"process {pid} does not end")
    finally:
        os.close(descriptor)
