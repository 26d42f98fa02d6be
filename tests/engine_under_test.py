"""The installed `wherry` command, run as a person runs it, on state of its own."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

SCRIPTS = Path(sysconfig.get_path("scripts"))


@dataclass(frozen=True)
class Result:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both outputs, for messages of failed assertions."""
        return f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"


class Wherry:
    """A private engine: its folders, its environment, and the command that talks to it.

    `user` is a uid to run everything as (the caller must be root); default: the caller itself.
    """

    def __init__(self, *, user: int | None = None, python: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wherry-"))
        self.root = self.folder / "root"
        self.run_dir = self.folder / "run"
        self.user = user
        self.within: tuple[str, ...] = ()  # a command that commands are run by
        scripts = Path(python).parent if python else SCRIPTS
        self.command = str(scripts / "wherry")
        keep = ("LANG", "LC_ALL", "TERM", "CI")
        self.environment = {name: os.environ[name] for name in keep if name in os.environ} | {
            "PATH": f"{scripts}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.folder),
            "WHERRY_ROOT": str(self.root),
            "WHERRY_RUN": str(self.run_dir),
            # No test asks others' registries: this is no proxy, and loopback needs none.
            "HTTPS_PROXY": "http://127.0.0.1:1",
        }
        if user is not None:
            self.folder.chmod(0o755)
            os.chown(self.folder, user, user)

    def __enter__(self) -> Wherry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Commands

    def argv(self, *args: str | Path) -> list[str]:
        """The command line, with the change of user before it when there is one."""
        as_user: list[str] = []
        if self.user is not None:
            as_user = [
                "setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups",
                "--inh-caps=-all", "--",
            ]  # fmt: skip
        return [*self.within, *as_user, self.command, *map(str, args)]

    def __call__(
        self,
        *args: str | Path,
        input: bytes | str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 120,
    ) -> Result:
        """Run `wherry ARGS` to its end, however it ends."""
        data = input.encode() if isinstance(input, str) else input
        done = subprocess.run(
            self.argv(*args),
            input=b"" if data is None else data,
            capture_output=True,
            env={**self.environment, **(env or {})},
            cwd=cwd or self.folder,
            timeout=timeout,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *args: str | Path, **options: object) -> str:
        """Run `wherry ARGS`, which must succeed, and return its stdout without the last newline."""
        done = self(*args, **options)  # type: ignore[arg-type]
        assert done.code == 0, f"wherry {' '.join(map(str, args))}: {done.said}"
        return done.out.removesuffix("\n")

    def refused(self, *args: str | Path, code: int, **options: object) -> str:
        """Run `wherry ARGS`, which must end with `code` and one line on stderr; return that."""
        done = self(*args, **options)  # type: ignore[arg-type]
        assert done.code == code, f"wherry {' '.join(map(str, args))}: {done.said}"
        assert "Traceback" not in done.err, done.said
        assert 1 <= len(done.err.strip().splitlines()) <= 2, done.said
        return done.err

    @contextlib.contextmanager
    def background(
        self, *args: str | Path, stdin: int | IO[bytes] = subprocess.DEVNULL
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start `wherry ARGS` and leave it running; killed at the end of the block if need be."""
        with subprocess.Popen(
            self.argv(*args),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            cwd=self.folder,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    # What stands behind the command

    @property
    def socket_path(self) -> Path:
        return self.run_dir / "wherry.sock"

    def daemon_pid(self) -> int:
        """The pid of the wherryd that listens on the socket, as the kernel tells it."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket_path))
            connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
            assert connection.recv(1), "wherryd closed the connection"
        # The listening socket may have been bound by the CLI, so SO_PEERCRED names the binder.
        daemons = {pid for pid in self.processes() if _is_daemon(pid)}
        # One that it has forked looks like it until it becomes the shim or the network helper.
        found = [pid for pid in daemons if (parent := _parent(pid)) and parent not in daemons]
        assert len(found) == 1, f"expected one wherryd, found {found}"
        return found[0]

    def processes(self) -> list[int]:
        """Every process that carries this engine's environment: wherryd, shims, containers."""
        mark = b"WHERRY_RUN=" + os.fsencode(self.run_dir)
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def log(self) -> str:
        """What wherryd has written, empty when it never ran."""
        try:
            return (self.run_dir / "wherryd.log").read_text(errors="replace")
        except OSError:
            return ""

    def kill_daemon(self) -> None:
        """kill -9 of wherryd, and wait until it is gone."""
        end(self.daemon_pid(), signal.SIGKILL)

    def end(self) -> None:
        """End every process of this engine."""
        for _ in range(5):
            left = self.processes()
            if not left:
                return
            for pid in left:
                end(pid, signal.SIGKILL)
        raise AssertionError(f"processes survive SIGKILL: {self.processes()}")

    def pid(self, container: str) -> int:
        """The host's pid of a running container."""
        return int(self.ok("inspect", "--format", "{{.State.Pid}}", container))

    def status(self, container: str) -> dict[str, str]:
        """The fields of /proc/PID/status of a running container."""
        text = Path(f"/proc/{self.pid(container)}/status").read_text()
        return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))

    def image(self, name: str, module: Path, *, entrypoint: Sequence[str] = ()) -> str:
        """Build an image of one module and return its name."""
        context = self.folder / f"context-{name}"
        context.mkdir(exist_ok=True)
        target = "module.wat" if module.suffix == ".wat" else "module.wasm"
        shutil.copy2(module, context / target)
        words = ", ".join(f'"{word}"' for word in (f"/{target}", *entrypoint))
        (context / "Dockerfile").write_text(
            f"FROM scratch\nCOPY {target} /{target}\nENTRYPOINT [{words}]\n"
        )
        if self.user is not None:
            context.chmod(0o755)
        self.ok("build", "-q", "-t", name, context)
        return name


def end(pid: int, number: signal.Signals) -> None:
    """Send a signal to `pid` and wait until the process is gone; gone already is fine."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)
        assert select.select([pidfd], [], [], 60)[0], f"process {pid} survives {number.name}"
    finally:
        os.close(pidfd)


def until(true: Callable[[], object], otherwise: str, patience: float = 120) -> None:
    """Ask again, which takes its time, until it is so; fails with `otherwise` if it never is."""
    last = time.monotonic() + patience
    while not true():
        assert time.monotonic() < last, otherwise


def _parent(pid: int) -> int:
    """The pid of a process's parent, 0 if the process has gone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(status.rpartition(")")[2].split()[1])


def _is_daemon(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False  # It has just ended.
    return any(word == b"wherry.api.daemon" or word.endswith(b"/wherryd") for word in words)
