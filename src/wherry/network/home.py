"""The namespace that bridges are in: the host's own for root, else one that a keeper holds.

An ordinary user may not touch the host's network, so the bridges are in a namespace within the
user's own user namespace, with `pasta` or `slirp4netns` as its way out. A small process keeps it
(`keeper`): it outlives a helper that is killed, and the next helper finds it by its record. If the
keeper is killed, the helper's own hold on the namespace carries it over to another one.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from wherry.network import namespaces
from wherry.network.errors import NetworkError
from wherry.pids import process_start

NO_WAY_OUT = (
    "containers reach each other but nothing outside: install passt (for pasta) or slirp4netns"
)


class Home:
    """Where bridges are. What is done here blocks, up to seconds for a new namespace."""

    def __init__(self, run: Path, *, rootless: bool) -> None:
        self._record = run / "network-home"
        self._lock_path = run / "network-home.lock"
        self._lock = -1
        self._keeper = -1
        self.rootless = rootless
        self.namespace = -1
        """A descriptor of it, once it was opened."""
        self.warning = ""
        """One line for people about what does not work, or nothing."""

    def open(self) -> None:
        """Find it or make it. Raises NetworkError, OSError."""
        if not self.rootless:
            self.namespace = namespaces.own()
            return
        # A keeper that finds nobody to keep for takes this lock before it goes.
        self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        if not self._find():
            self._start()

    @property
    def keeper(self) -> int:
        """A pidfd of the keeper, readable when it has ended; -1 if there is none."""
        return self._keeper

    def restore(self) -> None:
        """Give the namespace another keeper if its keeper has ended. Raises NetworkError.

        To be called by a thread that is in the host's network, where the way out begins.
        """
        if self._keeper >= 0 and select.select([self._keeper], [], [], 0)[0]:
            os.close(self._keeper)
            self._keeper = -1
            self._start()

    def close(self, *, idle: bool) -> None:
        """Let go of it; when no container is connected (`idle`), its keeper ends."""
        if self._keeper >= 0:
            if idle:
                self._record.unlink(missing_ok=True)
                with suppress(OSError):
                    signal.pidfd_send_signal(self._keeper, signal.SIGTERM)
            os.close(self._keeper)
            self._keeper = -1
        for descriptor in (self.namespace, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self.namespace = self._lock = -1

    def _find(self) -> bool:
        """Take the namespace of the keeper that lives, if it is within our user namespace.

        What is left of one that is not to be taken is ended.
        """
        try:
            keeper, start, way_out, program, program_start = self._record.read_text().split()
        except (OSError, ValueError):
            return False
        if (pidfd := _open(keeper, start)) >= 0:
            try:
                users = [os.stat(f"/proc/{each}/ns/user") for each in (keeper, "self")]
                if os.path.samestat(*users):
                    if self.namespace < 0:
                        self.namespace = namespaces.of_process(int(keeper))
                    self._keeper = pidfd
                    self.warning = NO_WAY_OUT if way_out == "-" else ""
                    return True
            except OSError:
                pass
        # Of an engine that has gone with all its containers, or of a keeper that was killed as the
        # helper was: then containers are connected anew.
        for left in (pidfd, _open(program, program_start)):
            if left >= 0:
                with suppress(OSError):
                    signal.pidfd_send_signal(left, signal.SIGTERM)
                os.close(left)
        return False

    def _start(self) -> None:
        """Start a keeper, of the namespace that there is already if there is one."""
        program = str(Path(__file__).with_name("keeper.py"))
        words = [sys.executable, "-I", "-S", program, str(self._record), str(self._lock_path)]
        held = [self.namespace] if self.namespace >= 0 else []
        done = subprocess.run(
            [*words, *map(str, held)],
            pass_fds=held,
            stdin=subprocess.DEVNULL,
            check=False,
            stdout=subprocess.PIPE,
            cwd="/",
            text=True,
            start_new_session=True,
        )
        if not self._find():
            said = (done.stdout.strip().splitlines() or ["it ended"])[-1]
            raise NetworkError(f"the namespace for networks cannot be made: {said}")


def _open(pid: str, start: str) -> int:
    """A pidfd of the process `pid` that started at `start`; -1 if it has ended."""
    try:
        pidfd = os.pidfd_open(int(pid))
    except (OSError, ValueError):
        return -1
    if process_start(int(pid)) == start:
        return pidfd
    os.close(pidfd)
    return -1
