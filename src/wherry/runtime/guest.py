"""Running a guest to its end, and saying on its stderr why it ended early."""

import _thread
import contextlib
import os
import signal
import socket
from collections.abc import Callable

from wherry.runtime.engines.capi import GuestError
from wherry.runtime.engines.embedded import Instance
from wherry.runtime.engines.memory import BoundedMemories
from wherry.runtime.exits import ENGINE_FAILED, SIGNALLED, TRAPPED, LaunchError
from wherry.runtime.sandbox import syscalls as sys

_FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTERM,
)


def forward_signals(control: socket.socket) -> None:
    """Tell the shim about signals sent straight to this process: it ends the process for them.

    No Python handler runs while the guest does, but the number is written by the C handler.
    """
    control.setblocking(False)
    signal.set_wakeup_fd(control.fileno(), warn_on_full_buffer=False)
    for number in _FORWARDED:
        signal.signal(number, lambda *_: None)


def end_on_signals() -> None:
    """End this process by itself for signals sent to it, with 128 + N.

    As process 1 of its namespace it would ignore them, and no Python handler runs while the guest
    does: a thread waits for them. Privileges are to be dropped before, for each thread has its own.
    """
    # Threads of the engine's are yet to come, and inherit that they are blocked.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    _thread.start_new_thread(_await_signal, ())


def _await_signal() -> None:
    os._exit(SIGNALLED + signal.sigwait(_FORWARDED))


_ATTENDED = (*_FORWARDED, signal.SIGCHLD)


def fork_attended() -> int:
    """Fork a child that a signal to this process ends by ending this process, which `attend` does.

    Returns as os.fork. Raises OSError.
    """
    ours = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ATTENDED)
    child = os.fork()
    if child == 0:
        sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() not in (0, ours):  # 0 from within another pid namespace
            os._exit(ENGINE_FAILED)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return child


def attend(child: int) -> int:
    """Wait for the end of `child`, or for a signal. Returns the exit status to leave with."""
    while True:
        number = signal.sigwait(_ATTENDED)
        if number != signal.SIGCHLD:
            return SIGNALLED + number
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else SIGNALLED - code


def run_guest(
    instance: Instance, memories: BoundedMemories | None, out_of_memory: Callable[[], None]
) -> int:
    """Run the guest; returns the exit status of its process.

    `out_of_memory` is called when it has failed and was refused memory before.
    """
    try:
        status = instance.run()
    except LaunchError as error:
        _say(error.message)
        return error.exit_code
    except GuestError as trap:
        _say(_explain(trap.message))
        status = TRAPPED
    if status != 0 and memories is not None and memories.refused:
        _say(
            f"the guest was refused memory: it asked for {_mib(memories.refused)} in all, "
            f"its limit is {_mib(memories.limit)} (raise it with --memory)"
        )
        out_of_memory()
    return status & 0xFF


def _explain(message: str) -> str:
    """wasmtime's message with its cause in front of the backtrace."""
    backtrace, caused, causes = message.partition("\nCaused by:\n")
    if not caused:
        return f"trap: {message.strip()}"
    cause = causes.strip().splitlines()[-1].strip().removeprefix("wasm trap: ")
    return f"trap: {cause}\n{backtrace.rstrip()}"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"wherry: {text}\n".encode())
