"""A launcher with a code cache of its own."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from ctypes import CDLL
from pathlib import Path

import pytest
from tests.runtime.bundles import Bundle, make_bundle

from wherry.runtime import Launcher

_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(scope="session")
def code_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def subreaper() -> Iterator[None]:
    """Orphans of the test are this process's children while it runs, and reaped in the end."""
    CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    yield
    CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0)
    with contextlib.suppress(ChildProcessError):
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG):
            pass


@pytest.fixture
async def launcher(code_cache: Path, subreaper: None) -> AsyncIterator[Launcher]:
    launcher = await Launcher.spawn(code_cache)
    yield launcher
    launcher.close()


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., Bundle]:
    """Makes bundles: `bundle("/main.wasm", "argument")`."""
    made = 0

    def make(*args: str) -> Bundle:
        nonlocal made
        made += 1
        return make_bundle(tmp_path / f"bundle-{made}", *args)

    return make
