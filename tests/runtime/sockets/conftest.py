"""A guest without an engine."""

from collections.abc import Iterator

import pytest
from tests.runtime.sockets.machine import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.close()
