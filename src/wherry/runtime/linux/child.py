"""A program of the host, run as a child of the event loop without a thread."""

import asyncio
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from typing import NoReturn

from wherry.runtime.sandbox import syscalls as sys

_CANNOT_RUN = 127
_LAST_BREATH = 5.0
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def spawn(
    argv: Sequence[str],
    environment: Mapping[str, str],
    streams: Sequence[int],
    files: tuple[int, int],
) -> int:
    """Start `argv`, whose first is a path, on descriptors for stdin, stdout and stderr; its pid.

    It dies with the thread that called this. `files` are its limits of open files, which this
    process may have raised for itself.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _run(parent, argv, environment, streams, files)
    return pid


async def wait(pid: int, seconds: float) -> int | None:
    """Wait for a child of this process and reap it: its exit code, negative for a signal.

    It is killed after `seconds`; the answer is None then. One that does not end even so, stuck in
    the kernel, is left to who reaps orphans.
    """
    pidfd = os.pidfd_open(pid)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        in_time = await _within(ended, seconds)
        if not in_time:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            await _within(ended, _LAST_BREATH)
        result = os.waitid(  # noqa: ASYNC222 (it does not wait)
            os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG
        )
        if not in_time or result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
    except asyncio.CancelledError:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        raise
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _run(
    parent: int,
    argv: Sequence[str],
    environment: Mapping[str, str],
    streams: Sequence[int],
    files: tuple[int, int],
) -> NoReturn:
    try:
        sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(_CANNOT_RUN)
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        for target, descriptor in enumerate(streams):
            os.dup2(descriptor, target)
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        os.execve(argv[0], list(argv), environment)  # noqa: S606 (a shell would add nothing)
    finally:
        os._exit(_CANNOT_RUN)
