"""A docker-registry for each way of getting in, shared by a module's tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from tests.registries import Faults, RealRegistry, registry
from tests.registry.images import Sample

from wherry.registry import Client, Hosts, Patience

IMPATIENT = Patience(tries=4, first=0.001, longest=0.01, asked=1.0)


@pytest.fixture(scope="module")
def open_registry() -> Iterator[RealRegistry]:
    """Plain HTTP, for everybody."""
    with registry() as real:
        yield real


@pytest.fixture(scope="module")
def tls_registry() -> Iterator[RealRegistry]:
    with registry(tls=True) as real:
        yield real


@pytest.fixture(scope="module")
def password_registry() -> Iterator[RealRegistry]:
    """For `ann` with `secret`."""
    with registry(htpasswd={"ann": "secret"}) as real:
        yield real


@pytest.fixture(scope="module")
def token_registry() -> Iterator[RealRegistry]:
    """For `ann` with `secret`, and for everybody's pulls of `public/`, by tokens."""
    with registry(token=True) as real:
        yield real


@pytest.fixture
def faults(open_registry: RealRegistry) -> Iterator[Faults]:
    """A proxy before `open_registry`."""
    with Faults(open_registry) as proxy:
        yield proxy


@pytest.fixture
def client() -> Iterator[Client]:
    """A client without any configuration that does not wait long."""
    made = Client(Hosts(), patience=IMPATIENT)
    yield made
    made.close()


_numbers = itertools.count()


@pytest.fixture
def path() -> str:
    """A repository that no other test uses."""
    return f"public/test{next(_numbers)}"


@pytest.fixture
def sample() -> Sample:
    """An image whose layer is large enough to be cut in the middle."""
    return Sample(3_000_000)
