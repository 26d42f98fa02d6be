"""The hooks of a container between `create` and `delete`. Imported only for who has some."""

import sys
from collections.abc import Callable

from wherry import oci
from wherry.oci import runtime as spec
from wherry.runtime.command.record import FAILED, Record
from wherry.runtime.config import MAX_CONFIG
from wherry.runtime.exits import LaunchError
from wherry.runtime.hooks import ContainerHooks, Job, run_jobs
from wherry.runtime.sandbox.cgroups import Cgroup


def starting(record: Record) -> None:
    """Before it is started: a hook that fails keeps it from it. Raises LaunchError."""
    procs_files = Cgroup.attach_existing(record.cgroup).procs_files
    run_jobs(_hooks(record).starting(record.pid, procs_files))


def started(record: Record) -> None:
    """When its guest runs. A hook that fails is warned of."""
    _run_and_warn(record, lambda hooks: hooks.started(record.pid))


def deleted(record: Record) -> None:
    """When it is gone. A hook that fails is warned of."""
    _run_and_warn(record, lambda hooks: hooks.deleted())


def _run_and_warn(record: Record, jobs: Callable[[ContainerHooks], list[Job]]) -> None:
    try:
        run_jobs(jobs(_hooks(record)))
    except LaunchError as error:
        sys.stderr.write(f"wherry-runtime: warning: {error.message}\n")


def _hooks(record: Record) -> ContainerHooks:
    try:
        config = oci.decode(record.read("config.json"), spec.Spec, "config.json", MAX_CONFIG)
    except oci.InvalidDocument as error:
        raise LaunchError(str(error), FAILED) from None
    return ContainerHooks(config, record.id, record.bundle)
