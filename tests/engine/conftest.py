"""An engine of its own for each test."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.conftest import without
from tests.engine.kitchen import environment, make_image

from wherry.engine import Engine


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """A data root and a run folder; what the engine starts finds them too, and ends with the test.

    A test that fails half-way must not leave a guest running: it would slow down all that follow.
    """
    root, run = tmp_path / "root", tmp_path / "run"
    for name, value in environment(root, run).items():
        monkeypatch.setenv(name, value)
    yield root, run
    for server in (run / "shim").glob("*,*"):
        with suppress(OSError, ValueError):
            os.kill(int(server.read_text().split()[0]), signal.SIGKILL)


@pytest.fixture
async def engine(places: tuple[Path, Path]) -> AsyncIterator[Engine]:
    """An engine with the image `guests`. What runs at the end is killed."""
    if os.geteuid() != 0:
        without("needs root")
    engine = await Engine.open(*places)
    make_image(engine.store)
    yield engine
    for container in list(engine.containers):
        await engine.containers.remove(container, force=True, volumes=True)
    await engine.close()
