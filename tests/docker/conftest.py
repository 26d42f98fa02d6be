"""Docker 26 and 28, each of the Debian suite that has it, for all tests of this folder."""

from collections.abc import Iterator

import pytest
from tests.conftest import suite
from tests.docker.engine import Docker
from tests.guests.toolchain import Guests

NAMES = {"dns": ["127.0.0.1"]}
"""Nobody is asked for names that Docker does not know: elsewhere there is no answer to wait for."""


@pytest.fixture(scope="session", params=["trixie", "forky"])
def docker(request: pytest.FixtureRequest, guests: Guests) -> Iterator[Docker]:
    """A Docker that all tests share; what they start they remove."""
    with suite(request.param).machine() as machine, machine.dockerd(NAMES) as dockerd:
        yield Docker(dockerd, guests)


@pytest.fixture(scope="module", params=["trixie", "forky"])
def own_docker(request: pytest.FixtureRequest, guests: Guests) -> Iterator[Docker]:
    """A Docker with live restore, for tests that kill it."""
    settings = {**NAMES, "live-restore": True}
    with suite(request.param).machine() as machine, machine.dockerd(settings) as dockerd:
        yield Docker(dockerd, guests)
