"""Fixtures of the tests of the image store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.images.mover import Mover
from tests.registries import Faults, RealRegistry, registry

from wherry.images import ImageStore


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    """An empty store."""
    return ImageStore(tmp_path / "data")


@pytest.fixture(scope="module")
def real() -> Iterator[RealRegistry]:
    """A registry for the tests of a module."""
    with registry() as running:
        yield running


@pytest.fixture
def faults(real: RealRegistry) -> Iterator[Faults]:
    """A proxy before it."""
    with Faults(real) as proxy:
        yield proxy


@pytest.fixture
def here(tmp_path: Path) -> Mover:
    """A store that pulls and pushes."""
    return Mover(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Mover:
    """Another, on another machine as it were."""
    return Mover(tmp_path / "there")
