"""Images most end-to-end tests run, built once for each module's engine."""

from __future__ import annotations

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import EXAMPLES, Guests


@pytest.fixture(scope="module")
def toolbox(wherry: Wherry, guests: Guests) -> str:
    """The image of tests/guests/toolbox.c."""
    return wherry.image("toolbox", guests.toolbox())


@pytest.fixture(scope="module")
def hello(wherry: Wherry) -> str:
    """The image of examples/hello."""
    wherry.ok("build", "-q", "-t", "hello", EXAMPLES / "hello")
    return "hello"
