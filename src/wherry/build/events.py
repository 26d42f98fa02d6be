"""What a build tells while it goes on. The Engine API turns these into Docker's lines."""

from collections.abc import Callable
from dataclasses import dataclass

from wherry.oci import Digest


@dataclass(frozen=True, slots=True)
class StepStarted:
    """Instruction `number` of `total`, counted from 1 over all stages that are built."""

    number: int
    total: int
    text: str


@dataclass(frozen=True, slots=True)
class TriggersFound:
    """The base image brings `count` ONBUILD instructions, which are carried out now."""

    count: int


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What the program of a RUN step wrote, standard output and error together."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StepFinished:
    """The step is done. `id` is 12 hex digits, empty for FROM scratch; `cached` if nothing was
    done because the same was done before."""

    id: str
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that need not be wrong; one line."""

    message: str


@dataclass(frozen=True, slots=True)
class Built:
    """The image is in the store."""

    id: Digest


@dataclass(frozen=True, slots=True)
class Tagged:
    """The image has this name, as Docker prints it: `hello:latest`."""

    name: str


Event = StepStarted | TriggersFound | StepOutput | StepFinished | Warned | Built | Tagged

Progress = Callable[[Event], None]
"""Is told each event as it happens. What it raises ends the build and passes through."""
