"""`start`: see to it that a server serves the bundle's group, and say where."""

import os

from wherry.shim.detached import LONGEST_ANSWER, READY, become_server
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
        raise CommandError(f"{error.filename or group.folder}: {error.strerror or error}") from None
    return group.address


def _launch(group: Group, events_address: str) -> int:
    """Fork a server and return its pid once it serves. Raises CommandError with what it said."""
    listener = group.listen()
    reader, writer = os.pipe()
    if group.pod:
        from wherry.shim.nursery import server_for

        pid = server_for(group, listener, events_address, writer)
    elif not (pid := os.fork()):
        os.close(reader)
        group.leave_lock()
        become_server(group, listener, events_address, writer)
    os.close(writer)
    listener.close()
    answer = os.read(reader, LONGEST_ANSWER)
    os.close(reader)
    if answer != READY:
        group.clear()
        reason = answer.decode(errors="replace") or "it ended without a word"
        raise CommandError(f"the shim's server did not start: {reason}")
    return pid


def _write_address(address: str) -> None:
    beside = f".{_ADDRESS_FILE}"
    with open(beside, "w") as file:
        file.write(address)
    os.rename(beside, _ADDRESS_FILE)
