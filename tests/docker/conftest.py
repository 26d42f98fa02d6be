"""Docker 26 and 28, each of the Debian suite that has it, for all tests of this folder."""

from collections.abc import Iterator

import pytest
from tests.conftest import suite
from tests.docker.engine import Docker
from tests.guests.toolchain import Guests

LIVE_RESTORE = {"live-restore": True}


@pytest.fixture(scope="session", params=["trixie", "forky"])
def docker(request: pytest.FixtureRequest, guests: Guests) -> Iterator[Docker]:
    """A Docker that all tests share; what they start they remove."""
    with suite(request.param).machine() as machine, machine.dockerd() as dockerd:
        yield Docker(dockerd, guests)


@pytest.fixture(scope="module", params=["trixie", "forky"])
def own_docker(request: pytest.FixtureRequest, guests: Guests) -> Iterator[Docker]:
    """A Docker with live restore, for tests that kill it."""
    with suite(request.param).machine() as machine, machine.dockerd(LIVE_RESTORE) as dockerd:
        yield Docker(dockerd, guests)
