"""Fixtures of the tests of the image store."""

from pathlib import Path

import pytest

from wherry.images import ImageStore


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    """An empty store."""
    return ImageStore(tmp_path / "data")
