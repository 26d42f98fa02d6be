"""What a build tells while it goes on. The Engine API turns these into Docker's lines."""

from collections.abc import Callable

import msgspec

from wherry.oci import Digest


class StepStarted(msgspec.Struct, frozen=True):
    """Instruction `number` of `total`, counted from 1 over all stages that are built."""

    number: int
    total: int
    text: str


class TriggersFound(msgspec.Struct, frozen=True):
    """The base image brings `count` ONBUILD instructions, which are carried out now."""

    count: int


class StepOutput(msgspec.Struct, frozen=True):
    """What the program of a RUN step wrote, standard output and error together."""

    data: bytes


class StepFinished(msgspec.Struct, frozen=True):
    """The step is done. `id` is 12 hex digits, empty for FROM scratch; `cached` if nothing was
    done because the same was done before. It took so many `seconds`."""

    id: str
    cached: bool = False
    seconds: float = 0.0


class Fetching(msgspec.Struct, frozen=True):
    """What whoever brings images from outside tells of it, in its own terms.

    `about` names what it is about: who did not hear of it yet wants the latest only. Empty for what
    stands for itself.
    """

    event: object
    about: str = ""


class Warned(msgspec.Struct, frozen=True):
    """Something that need not be wrong; one line."""

    message: str


class Built(msgspec.Struct, frozen=True):
    """The image is in the store."""

    id: Digest


class Tagged(msgspec.Struct, frozen=True):
    """The image has this name, as Docker prints it: `hello:latest`."""

    name: str


Event = StepStarted | TriggersFound | StepOutput | StepFinished | Fetching | Warned | Built | Tagged

Progress = Callable[[Event], None]
"""Is told each event as it happens. What it raises ends the build and passes through."""
