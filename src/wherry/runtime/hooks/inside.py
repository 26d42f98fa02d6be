"""Hooks that run in a container's namespaces.

The container's own process cannot run them: it was forked from a zygote that has given up what a
program needs to have privileges. A fresh interpreter enters the container's namespaces, all but
that of its processes, in which only its children are, and runs the hooks there. `createContainer`
hooks are programs of the host with its privileges; `startContainer` hooks are programs of the
image, so they are what the container's Linux process would be: its user, its capabilities.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence

import msgspec

from wherry.interpreter import command
from wherry.oci import document
from wherry.oci import runtime as spec
from wherry.runtime.exits import ENGINE_FAILED, LaunchError
from wherry.runtime.hooks.job import Job, run_jobs
from wherry.runtime.hooks.outside import to_job
from wherry.runtime.sandbox import capabilities, identity, namespaces, syscalls


class _Request(msgspec.Struct):
    """What the fresh interpreter is told on stdin."""

    hooks: list[spec.Hook]
    state: spec.State
    place: str
    procs_files: list[str]
    cwd: str
    process: spec.Process | None = None
    """As whom they run; None is as the runtime itself."""


def plan(
    hooks: Sequence[spec.Hook] | None,
    state: spec.State,
    config: spec.Spec,
    procs_files: Sequence[str],
    *,
    place: str,
) -> list[Job]:
    """The job that runs `hooks` in the container of process `state.pid`, if there are any."""
    if not hooks:
        return []
    process = config.process or spec.Process()
    rootfs = os.path.join(state.bundle, config.root.path if config.root else "rootfs")
    entered = place == "startContainer"
    request = _Request(
        hooks=list(hooks),
        state=state,
        place=place,
        procs_files=list(procs_files),
        cwd=process.cwd or "/" if entered else rootfs,
        process=process if entered else None,
    )
    argv = command(__name__)
    return [
        Job(
            name=f"{place} hooks' interpreter",
            path=argv[0],
            argv=argv,
            env=[f"PATH={os.defpath}"],
            stdin=document.encode(request),
            cwd="/",
            explains=True,
        )
    ]


def main(_arguments: list[str]) -> None:
    """Run the hooks described on stdin. Exits with 1 when one fails; stderr says which."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    capabilities.hide()
    with open(0, "rb", closefd=False) as stdin:
        request = msgspec.json.decode(stdin.read(), type=_Request)
    try:
        cgroup = [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in request.procs_files]
        pid = request.state.pid
        request.state.pid = _pid_inside(pid)
        # A module that is imported from here on would come from the container's files.
        sys.meta_path.clear()
        _enter(pid)
        prepare = _preparation(cgroup, request.process)
        stdin_of_hooks = document.encode(request.state)
        jobs = [
            to_job(hook, stdin_of_hooks, place=request.place, cwd=request.cwd, prepare=prepare)
            for hook in request.hooks
        ]
        run_jobs(jobs)
    except LaunchError as error:
        _fail(error.message)
    except OSError as error:
        _fail(f"the {request.place} hooks cannot enter the container: {error}")
    os._exit(0)


def _fail(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
    os._exit(1)


def _pid_inside(pid: int) -> int:
    """The number of a process in its own pid namespace (proc(5), NSpid)."""
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("NSpid:"))
    return int(line.split()[-1])


def _enter(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    syscalls.setns(pidfd, namespaces.foreign(pid))
    os.close(pidfd)


def _preparation(cgroup: list[int], process: spec.Process | None) -> Callable[[], None]:
    def prepare() -> None:
        try:
            # It alone is charged to the container, not this interpreter.
            for procs in cgroup:
                os.write(procs, b"0")
            if process is not None:
                _become(process)
            # The kernel forgets it when credentials change.
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        except (OSError, LaunchError) as error:
            os.write(2, f"{error}\n".encode())
            os._exit(ENGINE_FAILED)

    return prepare


def _become(process: spec.Process) -> None:
    given = process.capabilities or spec.Capabilities()
    identity.set_limits(process)
    capabilities.bound(given.bounding or ())
    capabilities.keep_across_setuid()
    identity.become(process.user)
    capabilities.set_to(given)
    if process.no_new_privileges:
        capabilities.set_no_new_privs()
