"""Where the shim keeps its files, and how it tells one process from another of the same number.

Cheap to import: `start` does so for each container.
"""

import os

from wherry.places import run_folder

COMMAND = "containerd-shim-wherry-v1"
"""The name by which containerd finds the shim's command on the PATH."""


class CommandError(Exception):
    """What the command could not do. The message is one line, which containerd shows."""


TASK_NOTE = "wherry-task"
"""In a bundle while its task exists: "PID START CGROUP", see `process_start`.

A symbolic link, which is made at once or not at all, and is cheaper than a file.
"""


def linux_folder(namespace: str) -> str:
    """Where a Linux runtime keeps the state of a namespace's containers."""
    return f"{run_folder()}/linux/{namespace}"


def process_start(pid: int) -> str:
    """When a process started, as the kernel counts; "" if there is none or only its zombie."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # The name in parentheses may hold anything, so count from its end (proc(5)).
            fields = os.read(descriptor, 4096).rpartition(b") ")[2].split()
        finally:
            os.close(descriptor)
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
