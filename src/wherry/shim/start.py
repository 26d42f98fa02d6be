"""`start`: see to it that a server serves the bundle's group, and say where."""

import os
import socket
from typing import NoReturn

from wherry.shim.group import Group
from wherry.shim.places import CommandError

_ADDRESS_FILE = "address"
_READY = b"+"
_LONGEST_ANSWER = 2048


def start(namespace: str, address: str, events_address: str) -> str:
    """The address of the server for the bundle in the working folder.

    Also writes it to the bundle's file `address`, by which containerd finds its tasks again after
    a restart. Raises CommandError.
    """
    try:
        group = Group.of_bundle(namespace, address, ".")
        with group.locked():
            if not group.is_served():
                group.hide()
                group.show(_launch(group, events_address))
        _write_address(group.address)
    except OSError as error:
        raise CommandError(f"{error.filename or group.folder}: {error.strerror}") from None
    return group.address


def _launch(group: Group, events_address: str) -> int:
    """Fork a server and return its pid once it serves. Raises CommandError with what it said."""
    listener = group.listen()
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        group.leave_lock()
        _become_server(group, listener, events_address, writer)
    os.close(writer)
    listener.close()
    answer = os.read(reader, _LONGEST_ANSWER)
    os.close(reader)
    if answer != _READY:
        group.clear()
        reason = answer.decode(errors="replace") or "it ended without a word"
        raise CommandError(f"the shim's server did not start: {reason}")
    return pid


def _become_server(
    group: Group, listener: socket.socket, events_address: str, answer: int
) -> NoReturn:
    served = False

    def ready() -> None:
        nonlocal served
        served = True
        os.write(answer, _READY)
        os.close(answer)

    code = 1
    try:
        os.setsid()
        os.umask(0o022)
        _detach(group.log)
        os.chdir("/")
        from wherry.shim.server.serve import serve

        serve(group, listener, events_address, ready)
        code = 0
    except BaseException as error:
        import traceback

        traceback.print_exc()
        if not served:
            os.write(answer, f"{type(error).__name__}: {error}"[:_LONGEST_ANSWER].encode())
    finally:
        os._exit(code)


def _detach(log: str) -> None:
    """Let go of everything of the caller's: containerd reads our output until it is closed."""
    null = os.open(os.devnull, os.O_RDWR)
    messages = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (messages, 1), (messages, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(messages)


def _write_address(address: str) -> None:
    beside = f".{_ADDRESS_FILE}"
    with open(beside, "w") as file:
        file.write(address)
    os.rename(beside, _ADDRESS_FILE)
