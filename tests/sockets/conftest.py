"""Launchers and bundles as the runtime's tests have them, and servers in a container's network."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.guests.toolchain import Guests
from tests.peers import Daemon
from tests.runtime.bundles import Bundle
from tests.runtime.conftest import bundle, code_cache, launcher, subreaper
from tests.sockets.containers import Container

__all__ = ["bundle", "code_cache", "launcher", "subreaper"]

Serve = Callable[..., Daemon]


@pytest.fixture
def module(bundle: Callable[..., Bundle]) -> Callable[..., Bundle]:
    """Makes bundles of a module's file: `module(guests.httpd(), "argument")`."""

    def make(path: Path, *args: object) -> Bundle:
        made = bundle("/main.wasm", *(str(arg) for arg in args))
        made.put("main.wasm", path.read_bytes())
        return made

    return make


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers in a container's network: `serve(container, ready, "redis-server", …)`.

    `ready` is the command that succeeds once the server answers. They end with the test.
    """
    with contextlib.ExitStack() as stack:

        def start(container: Container, ready: list[str], *command: str) -> Daemon:
            log = tmp_path / f"{Path(command[0]).name}.log"
            daemon = Daemon(container.inside(*command), log)
            stack.callback(daemon.stop)
            daemon.wait_until(container.inside(*ready))
            return daemon

        yield start


@pytest.fixture(params=[1, 2], ids=["abi 1", "abi 2"])
def puppet(
    request: pytest.FixtureRequest, guests: Guests, module: Callable[..., Bundle]
) -> Callable[[], Bundle]:
    """Makes bundles of tests/guests/puppet.c, in each of WasmEdge's ABIs."""
    return lambda: module(guests.puppet(request.param))
