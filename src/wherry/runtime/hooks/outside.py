"""Hooks that run in the runtime's own namespaces."""

import os
from collections.abc import Callable, Sequence

from wherry.oci import document
from wherry.oci import runtime as spec
from wherry.runtime.hooks.job import Job, run_jobs

_ANY_FOLDER = "/"


def run_hooks(hooks: Sequence[spec.Hook] | None, state: spec.State, *, place: str) -> None:
    """Run hooks in this process's namespaces, one after the other, until one fails.

    `place` is the name of their list ("prestart"). Raises LaunchError with the hook's path, its
    status and the end of its stderr.
    """
    run_jobs(plan(hooks, state, place=place))


def plan(hooks: Sequence[spec.Hook] | None, state: spec.State, *, place: str) -> list[Job]:
    """What `run_hooks` would run."""
    stdin = document.encode(state)
    # runc's hooks find themselves in the bundle, where containerd starts it, and rely on it.
    cwd = state.bundle if os.path.isdir(state.bundle) else _ANY_FOLDER
    return [to_job(hook, stdin, place=place, cwd=cwd) for hook in hooks or ()]


def to_job(
    hook: spec.Hook,
    stdin: bytes,
    *,
    place: str,
    cwd: str,
    prepare: Callable[[], None] | None = None,
) -> Job:
    """One hook as a job, which fails if it is not as the spec asks (config.md, "Hooks")."""
    error = ""
    if not os.path.isabs(hook.path):
        error = "its path is not absolute"
    elif hook.timeout is not None and hook.timeout <= 0:
        error = "its timeout is not above 0"
    return Job(
        name=f"{place} hook {hook.path}",
        path=hook.path,
        argv=hook.args or [hook.path],
        env=hook.env or (),
        stdin=stdin,
        cwd=cwd,
        timeout=hook.timeout,
        error=error,
        prepare=prepare,
    )
