"""Policies: who must have signed which images (containers-policy.json(5)).

Of the file that podman, skopeo and CRI-O read, wherry understands the transport `docker` and the
requirements `insecureAcceptAnything`, `reject` and `sigstoreSigned` with keys. Whatever else stands
in it makes the whole file invalid: a requirement that is not understood must not count as met.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wherry.oci import Reference
from wherry.trust.identity import DEFAULT_IDENTITY, SignedIdentity
from wherry.trust.keys import PublicKey

TRANSPORT = "docker"
"""The transport of images that come from registries, and of all images with a name here."""


@dataclass(frozen=True)
class Place:
    """Where something stands, for messages: a file and a line, counted from one."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Accept:
    """`insecureAcceptAnything`: no signature is asked for."""

    place: Place


@dataclass(frozen=True)
class Reject:
    """`reject`: no image will do."""

    place: Place


@dataclass(frozen=True)
class Signed:
    """`sigstoreSigned`: by one of `keys`, for the name that `identity` says; None for any name."""

    place: Place
    keys: tuple[PublicKey, ...]
    identity: SignedIdentity | None = DEFAULT_IDENTITY


Requirement = Accept | Reject | Signed
Requirements = tuple[Requirement, ...]


@dataclass(frozen=True)
class Policy:
    """Requirements by scope. `default` is for images without a name and where no scope fits."""

    default: Requirements
    scopes: Mapping[str, Requirements]
    """Of the transport `docker`: image, repository, namespace, host, `*.domain`, or "" for all."""
    fingerprint: str = ""
    """Another one for every other content of the policy's file and of the keys' that it names."""

    def requirements(self, reference: Reference | None) -> Requirements:
        """What an image of this name, or of none, must meet: all of it.

        The most specific scope alone counts.
        """
        if reference is None:
            return self.default
        for scope in _scopes(reference):
            found = self.scopes.get(scope)
            if found is not None:
                return found
        return self.default


def demands_signatures(requirements: Sequence[Requirement]) -> bool:
    """Whether signatures have to be looked for."""
    return any(isinstance(each, Signed) for each in requirements)


def _scopes(reference: Reference) -> list[str]:
    """Every scope that fits, the most specific first."""
    scopes = []
    if reference.digest:  # A tag beside it names nothing: anybody can write any there.
        scopes.append(f"{reference.name}@{reference.digest}")
    elif reference.tag:
        scopes.append(f"{reference.name}:{reference.tag}")
    name = reference.name
    while True:
        scopes.append(name)
        name, slash, _ = name.rpartition("/")
        if not slash:
            break
    labels = reference.domain.partition(":")[0].split(".")
    scopes += [f"*.{'.'.join(labels[start:])}" for start in range(1, len(labels))]
    return [*scopes, ""]
