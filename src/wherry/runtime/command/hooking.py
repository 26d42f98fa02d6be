"""The hooks of a container between `create` and `delete`. Imported only for who has some."""

import sys
from collections.abc import Callable

from wherry.oci import document
from wherry.oci import runtime as spec
from wherry.runtime.command.record import FAILED, Record
from wherry.runtime.config import MAX_CONFIG
from wherry.runtime.exits import LaunchError
from wherry.runtime.hooks import ContainerHooks, Job, run_and_warn, run_jobs
from wherry.runtime.sandbox.cgroups import Cgroup


def creating(record: Record, pid: int, cgroup: Cgroup) -> None:
    """While it is created: a hook that fails is the end of that. Raises LaunchError."""
    run_jobs(_hooks(record).creating(pid, cgroup.procs_files))


def starting(record: Record) -> None:
    """Before it is started: a hook that fails keeps it from it. Raises LaunchError."""
    procs_files = Cgroup.attach_existing(record.cgroup).procs_files
    run_jobs(_hooks(record).starting(record.pid, procs_files))


def started(record: Record, pid: int) -> None:
    """When its guest runs. A hook that fails is warned of."""
    _run_and_warn(record, lambda hooks: hooks.started(pid))


def deleted(record: Record) -> None:
    """When it is gone. A hook that fails is warned of."""
    _run_and_warn(record, lambda hooks: hooks.deleted())


def _run_and_warn(record: Record, jobs: Callable[[ContainerHooks], list[Job]]) -> None:
    run_and_warn(
        jobs(_hooks(record)),
        lambda line: print(f"wherry-runtime: warning: {line}", file=sys.stderr),
    )


def _hooks(record: Record) -> ContainerHooks:
    try:
        config = document.decode(record.read("config.json"), spec.Spec, "config.json", MAX_CONFIG)
    except document.InvalidDocument as error:
        raise LaunchError(str(error), FAILED) from None
    return ContainerHooks(config, record.id, record.bundle)
