"""A program run to its end beside a container: bounded in time, judged by its status.

Its state arrives on stdin as a file in memory, so that one that never reads it, or closes stdin
early, holds up nobody. Of what it writes to stderr only the end is kept, for the error.
"""

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wherry.runtime.exits import LaunchError

_KEPT = 2000
"""Bytes of a program's stderr that are kept."""

_PIECE = 64 << 10
"""Bytes read at once: what a pipe holds."""

_SHOWN = 400
"""Characters of it that an error shows."""


@dataclass(frozen=True, slots=True)
class Job:
    """A program to run. Nothing is inherited: not the environment, no descriptor."""

    name: str
    """What it is, for errors: "createRuntime hook /usr/bin/x"."""
    path: str
    argv: Sequence[str]
    env: Sequence[str]
    """Entries NAME=VALUE."""
    stdin: bytes
    cwd: str
    timeout: float | None = None
    """Seconds until it is killed, and its process group with it."""
    explains: bool = False
    """Whether the last line that it says on stderr is the whole error."""
    error: str = ""
    """Why it cannot be run at all."""
    prepare: Callable[[], None] | None = None
    """Called in its process before the program; only for callers with a single thread."""


class _Child:
    """A job's process. `descriptors` poll readable when there is something to `take`."""

    def __init__(self, job: Job) -> None:
        """Start it; raises LaunchError."""
        self._job = job
        self._said = b""
        if job.error:
            raise LaunchError(f"the {job.name} cannot be run: {job.error}")
        try:
            self.stderr, writer = os.pipe()
            try:
                self._process = _start(job, writer)
            finally:
                os.close(writer)
                if not hasattr(self, "_process"):
                    os.close(self.stderr)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise LaunchError(f"the {job.name} cannot be run: {reason}") from None
        os.set_blocking(self.stderr, False)
        self.pidfd = os.pidfd_open(self._process.pid)

    def take(self) -> bool:
        """Take what it has said so far; False once it can say no more."""
        try:
            piece = os.read(self.stderr, _PIECE)
        except BlockingIOError:
            return True
        self._said = (self._said + piece)[-_KEPT:]
        return bool(piece)

    def finish(self, *, timed_out: bool) -> None:
        """Reap it, killing it and its process group if it still runs. Raises LaunchError."""
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if timed_out or result is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        status = result.si_status if result is not None else 0
        exited = result is None or result.si_code == os.CLD_EXITED
        self._process.returncode = status
        # Of those it left behind with its stderr, nobody waits for the end.
        self.take()
        os.close(self.pidfd)
        os.close(self.stderr)
        job = self._job
        if timed_out:
            raise LaunchError(self._error(f"did not end within its {job.timeout:g} s"))
        if not exited:
            raise LaunchError(self._error(f"was killed by {_signal_name(status)}"))
        if status:
            lines = _printable(self._said).splitlines()
            if job.explains and lines:
                raise LaunchError(lines[-1])
            raise LaunchError(self._error(f"ended with status {status}"))

    def _error(self, what: str) -> str:
        said = " ".join(_printable(self._said).split())
        if len(said) > _SHOWN:
            said = f"…{said[-_SHOWN:]}"
        return f"the {self._job.name} {what}" + (f": {said}" if said else "")


def _start(job: Job, stderr: int) -> "subprocess.Popen[bytes]":
    stdin = os.memfd_create("state")
    try:
        os.write(stdin, job.stdin)
        os.lseek(stdin, 0, os.SEEK_SET)
        return subprocess.Popen(
            job.argv,
            executable=job.path,
            env=dict(entry.split("=", 1) for entry in job.env if "=" in entry[1:]),
            cwd=job.cwd,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            # A process group of its own is what a timeout ends.
            start_new_session=True,
            preexec_fn=job.prepare,  # noqa: PLW1509 (see Job)
        )
    finally:
        os.close(stdin)


def run_jobs(jobs: Iterable[Job]) -> None:
    """Run one after the other; the first that fails is the last. Raises LaunchError."""
    for job in jobs:
        child = _Child(job)
        timed_out = False
        try:
            timed_out = not _wait(child, job.timeout)
        finally:
            child.finish(timed_out=timed_out)


def _wait(child: _Child, timeout: float | None) -> bool:
    """Wait for its end; False when that does not come in time."""
    end = None if timeout is None else time.monotonic() + timeout
    poll = select.poll()
    poll.register(child.pidfd, select.POLLIN)
    poll.register(child.stderr, select.POLLIN)
    while True:
        left = None if end is None else max(0.0, end - time.monotonic()) * 1000
        ready = [fd for fd, _ in poll.poll(left)]
        if child.pidfd in ready:
            return True
        # A program that never stops talking is not waited for longer.
        if not ready or left == 0:
            return False
        if not child.take():
            poll.unregister(child.stderr)


async def finish_jobs(jobs: Iterable[Job]) -> None:
    """As `run_jobs`, while the event loop goes on. Who is cancelled leaves no job behind."""
    loop = asyncio.get_running_loop()
    for job in jobs:
        child = _Child(job)
        ended = asyncio.Event()

        def take(child: _Child = child) -> None:
            if not child.take():
                loop.remove_reader(child.stderr)

        loop.add_reader(child.pidfd, ended.set)
        loop.add_reader(child.stderr, take)
        timed_out = False
        try:
            async with asyncio.timeout(job.timeout):
                await ended.wait()
        except TimeoutError:
            timed_out = True
        finally:
            loop.remove_reader(child.pidfd)
            loop.remove_reader(child.stderr)
            with contextlib.ExitStack() as cleanup:
                if not ended.is_set() and not timed_out:
                    # Cancelled: that is what is to be told, not how the job took it.
                    cleanup.enter_context(contextlib.suppress(LaunchError))
                child.finish(timed_out=timed_out)


def run_and_warn(jobs: Iterable[Job], warn: Callable[[str], None]) -> None:
    """Run one after the other; whichever fails is warned of, and the next has its turn."""
    for job in jobs:
        try:
            run_jobs([job])
        except LaunchError as error:
            warn(error.message)


async def finish_and_warn(jobs: Iterable[Job], warn: Callable[[str], None]) -> None:
    """As `run_and_warn`, while the event loop goes on."""
    for job in jobs:
        try:
            await finish_jobs([job])
        except LaunchError as error:
            warn(error.message)


def _printable(said: bytes) -> str:
    text = said.decode(errors="replace")
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
