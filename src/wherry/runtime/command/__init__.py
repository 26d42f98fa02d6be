"""`wherry-runtime`: the OCI runtime command, for who drives containers without a shim.

Docker 20.10, Podman, Buildah and CRI-O call it as they call runc: one short process for each step
of a container's life. So what a step imports is what it costs: nothing here is imported before it
is needed, and what only one of the commands needs is imported by that command.

A container made here is a child of whoever called `create`, who reaps it; nothing of wherry's stays
beside it. What later commands must know stands in a folder of its own below `--root` (`record`).
"""

from wherry.runtime.command.main import main

__all__ = ["main"]
