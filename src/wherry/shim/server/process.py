"""One process of a task: its state, the signals it gets, its deadline and its end."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable

from wherry.oci.runtime import Resources
from wherry.runtime import ContainerProcess
from wherry.shim.messages import CREATED, PAUSED, RUNNING, STOPPED
from wherry.shim.server.readers import has_unread, until_read
from wherry.shim.server.stdio import Stdio

TIMED_OUT = 124
"""Exit status of a process that was ended at its deadline, as timeout(1) has it."""

_SIGNALLED = 128
_NOT_ENDING = frozenset(
    (
        0,
        signal.SIGCHLD,
        signal.SIGCONT,
        signal.SIGURG,
        signal.SIGWINCH,
        signal.SIGSTOP,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
    )
)
"""Signals whose default action does not end a process (signal(7)), and 0, which is none."""


class TaskProcess:
    """A process from its creation until it is deleted. Its exit status is kept.

    `gone` is called once, when it has exited and all its output has been taken, by who reads its
    FIFOs too: whoever made it then says when that is to be known, by `finish`.
    """

    def __init__(
        self, process: ContainerProcess, stdio: Stdio, gone: Callable[["TaskProcess"], None]
    ) -> None:
        self.pid = process.pid
        self.stdio = stdio
        self.cgroup = process.cgroup
        self.status = CREATED
        self.exit_status = 0
        self.exited_at = 0
        self._process = process
        self._gone = gone
        self._exited = asyncio.Event()
        self._last_words: asyncio.Task[None] | None = None
        self._reported: int | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._starting = False
        asyncio.get_running_loop().add_reader(process.pidfd, self._reap)

    async def start(self, seconds: float | None) -> None:
        """Let it run, for at most `seconds`. Raises LaunchError."""
        loop = asyncio.get_running_loop()
        self._starting = True
        # Its end is told after its start, however soon it comes.
        loop.remove_reader(self._process.pidfd)
        try:
            await self._process.start(self.kill)
            self.status = RUNNING
        finally:
            self._starting = False
            loop.add_reader(self._process.pidfd, self._reap)
        if seconds is not None:
            self._deadline = loop.call_later(seconds, self._time_is_up, seconds)

    def kill(self, number: int) -> None:
        """Send it a signal.

        While Wasm runs no signal handler does, and process 1 of a pid namespace ignores what is
        left at its default: a signal that should end it becomes SIGKILL, reported as itself.
        """
        if self.status == STOPPED:
            return
        if number == signal.SIGKILL or not (self._process.takes_signals or number in _NOT_ENDING):
            self._end(_SIGNALLED + number)
        else:
            self._send(number)

    @property
    def takes_signals(self) -> bool:
        """Whether signals are sent to it as they are (see `ContainerProcess`)."""
        return self._process.takes_signals

    def kill_others(self, number: int) -> None:
        """Send a signal to all processes of its container but itself."""
        for pid in self.cgroup.pids():
            if pid != self.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    async def pause(self) -> None:
        """Stop its container. Raises CgroupError or LaunchError."""
        await self._process.pause()
        if self.status == RUNNING:
            self.status = PAUSED

    async def resume(self) -> None:
        """Let its container go on. Raises CgroupError or LaunchError."""
        await self._process.resume()
        if self.status == PAUSED:
            self.status = RUNNING

    async def update(self, resources: Resources, document: bytes) -> None:
        """Set other limits for its container. Raises CgroupError or LaunchError."""
        await self._process.update(resources, document)

    async def wait(self) -> None:
        """Until it has exited."""
        await self._exited.wait()

    async def close(self) -> None:
        """Once it has exited: release all that it held. Raises CgroupError or LaunchError."""
        self.stdio.close()
        await self._process.close()

    def _time_is_up(self, seconds: float) -> None:
        if self.status != STOPPED:
            self.stdio.say(f"wherry: stopped after {seconds:g} s, its time limit (--timeout)\n")
            self._end(TIMED_OUT)

    def _end(self, status: int) -> None:
        if self._reported is None:
            self._reported = status
        self._send(signal.SIGKILL)
        if self.status == PAUSED:
            # In a frozen cgroup v1 even SIGKILL waits.
            self.cgroup.thaw()

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process.pidfd, number)

    def _reap(self) -> None:
        result = os.waitid(os.P_PIDFD, self._process.pidfd, os.WEXITED | os.WNOHANG)
        if result is None:
            return
        self.exited_at = time.time_ns()
        asyncio.get_running_loop().remove_reader(self._process.pidfd)
        if self._deadline is not None:
            self._deadline.cancel()
        if result.si_code == os.CLD_EXITED:
            self.exit_status = result.si_status
        elif result.si_status == signal.SIGKILL and self._reported is not None:
            self.exit_status = self._reported
        else:
            self.exit_status = _SIGNALLED + result.si_status
        self._process.ended()
        self.stdio.drain()
        outputs = (self.stdio.stdout_address, self.stdio.stderr_address)
        if has_unread(*outputs):
            self._last_words = asyncio.ensure_future(until_read(*outputs))
            self._last_words.add_done_callback(lambda _: self._gone(self))
        else:
            self._gone(self)

    def finish(self) -> None:
        """Let it be known that it has exited."""
        self.status = STOPPED
        self._exited.set()

    @property
    def made(self) -> ContainerProcess:
        """The process itself, for who makes further ones in its container."""
        return self._process

    @property
    def is_startable(self) -> bool:
        """Whether it was created, and neither started nor ended."""
        return self.status == CREATED and not self._starting

    @property
    def was_refused_memory(self) -> bool:
        """Whether it died for want of memory that a limit refused it."""
        return self._process.refused_memory

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended it that this shim did not send: by the kernel, or by hand."""
        return self.exit_status == _SIGNALLED + signal.SIGKILL and self._reported is None
