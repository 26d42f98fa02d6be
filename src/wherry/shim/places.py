"""Where the shim keeps its files, and what it is called.

Cheap to import: `start` does so for each container.
"""

from wherry.places import run_folder

COMMAND = "containerd-shim-wherry-v1"
"""The name by which containerd finds the shim's command on the PATH."""


class CommandError(Exception):
    """What the command could not do. The message is one line, which containerd shows."""


TASK_NOTE = "wherry-task"
"""In a bundle while its task exists: "PID START CGROUP", see `wherry.pids`.

A symbolic link, which is made at once or not at all, and is cheaper than a file.
"""


def linux_folder(namespace: str) -> str:
    """Where a Linux runtime keeps the state of a namespace's containers."""
    return f"{run_folder()}/linux/{namespace}"
