"""`start`: see to it that a server serves the bundle's group, and say where."""

import os

from wherry.shim.group import Group
from wherry.shim.places import CommandError

_ADDRESS_FILE = "address"


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
    """Fork a server and return its pid. It warms up while clients wait in the socket's backlog."""
    listener = group.listen()
    pid = os.fork()
    if pid:
        listener.close()
        return pid
    code = 1
    try:
        os.setsid()
        os.umask(0o022)
        _detach(group.log)
        os.chdir("/")
        from wherry.shim.server.serve import serve

        serve(group, listener, events_address)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
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
