"""The `wherry` command as a process of its own, against a fake engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cli.engine import Engine
from tests.client.fake_daemon import FakeDaemon

COMMAND = [sys.executable, "-c", "from wherry.cli.main import main; main()"]


@dataclass
class Shell:
    """Runs commands; `daemon` is the engine they talk to, `engine` what it answers."""

    daemon: FakeDaemon
    engine: Engine
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DOCKER_CONFIG": str(self.folder / "docker"),
            **os.environ,
            "WHERRY_HOST": self.daemon.host,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }

    def __call__(self, *words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*COMMAND, *words],
            input=input,
            capture_output=True,
            env=self.environment,
            cwd=self.folder,
            timeout=60,
        )

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            cwd=self.folder,
        )


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def shell(tmp_path: Path, engine: Engine) -> Iterator[Shell]:
    with FakeDaemon(tmp_path, engine) as daemon:
        yield Shell(daemon, engine, tmp_path)
