"""The real docker-registry, private to a test, and a proxy before it that misbehaves on demand.

with registry(htpasswd={"ann": "secret"}) as real, Faults(real) as faults:
    faults.add("GET", r"/blobs/", CutAnswer(1000))
    wherry("pull", f"{faults.name}/image")
"""

from tests.registries.authority import Authority
from tests.registries.faults import (
    Answer,
    ChangeAnswer,
    CutAnswer,
    CutRequest,
    Fault,
    Faults,
    Garbage,
    Hold,
    Redirect,
    Seen,
)
from tests.registries.real import RealRegistry, registry
from tests.registries.tokens import TokenServer

__all__ = [
    "Answer", "Authority", "ChangeAnswer", "CutAnswer", "CutRequest", "Fault", "Faults", "Garbage",
    "Hold", "RealRegistry", "Redirect", "Seen", "TokenServer", "registry",
]  # fmt: skip
