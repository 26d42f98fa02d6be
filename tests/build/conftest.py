"""Fixtures of the tests of builds."""

from pathlib import Path

import pytest
from tests.build.kitchen import Kitchen


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    """An empty store to build in."""
    return Kitchen(tmp_path)
