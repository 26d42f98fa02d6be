"""The docker command against a wherryd of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import without
from tests.engine_under_test import SCRIPTS, Wherry

GUESTS = Path(__file__).parent.parent / "guests"


class Docker:
    """`docker` against a wherryd of its own."""

    def __init__(self, command: list[str], wherry: Wherry) -> None:
        self.command = command
        self.wherry = wherry
        self.folder = wherry.folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(wherry.folder),
            "DOCKER_HOST": f"unix://{wherry.socket_path}",
            "DOCKER_BUILDKIT": "0",
        }

    def __call__(self, *words: str, input: str = "", code: int = 0) -> str:
        """What `docker WORDS` prints; it must end with `code`."""
        done = subprocess.run(
            [*self.command, *words],
            input=input,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.folder,
            timeout=120,
        )
        assert done.returncode == code, f"docker {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stderr if code else done.stdout

    def typing(self, *words: str) -> tuple[int, int]:
        """Start `docker WORDS` at a terminal; its pid and the terminal's other end."""
        pid, terminal = pty.fork()
        if not pid:
            os.execve(self.command[0], [*self.command, *words], self.environment)
        return pid, terminal


@contextlib.contextmanager
def docker_and_wherryd(
    *guests: str, dockerfile: str, command: list[str] | None = None
) -> Iterator[Docker]:
    """A wherryd that was started by hand; the folder `context` has a Dockerfile and the guests.

    `command` is the docker command, this machine's if none is given.
    """
    if command is None:
        program = shutil.which("docker")
        if program is None:
            without("the docker command is not installed")
        command = [program]
    with Wherry() as wherry:
        wherry.run_dir.mkdir(mode=0o700)
        with subprocess.Popen(
            [SCRIPTS / "wherryd"], env=wherry.environment, stderr=subprocess.PIPE
        ) as daemon:
            wherry.ok("version")  # it is up
            context = wherry.folder / "context"
            context.mkdir()
            for name in guests:
                shutil.copy(GUESTS / f"{name}.wat", context)
            (context / "Dockerfile").write_text(dockerfile)
            yield Docker(command, wherry)
            daemon.terminate()
