"""HEALTHCHECK: what was asked for, checked, completed by the image's, and read with its defaults.

Durations are nanoseconds in `oci.Healthcheck`, as in Docker's documents, and seconds here.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET, UnsetType, structs

from wherry.engine.errors import InvalidRequest
from wherry.oci import Healthcheck

_SHORTEST = 1_000_000
_DURATIONS = ("interval", "timeout", "start_period", "start_interval")
_SHELL = ("/bin/sh", "-c")


class Check(NamedTuple):
    """A health check to make. Times are seconds."""

    command: list[str]
    in_shell: bool
    """The command is a shell's, which a container need not have."""
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    """So long after its start a container's failures do not count."""
    start_interval: float = 5.0
    """Between checks within the start period, until one succeeds."""
    retries: int = 3
    """Failures in a row that make it unhealthy."""


def check_healthcheck(wanted: Healthcheck) -> None:
    """Raise InvalidRequest for what makes no sense."""
    for name in _DURATIONS:
        if getattr(wanted, name) and getattr(wanted, name) < _SHORTEST:
            title = "".join(word.capitalize() for word in name.split("_"))
            raise InvalidRequest(f"{title} in Healthcheck cannot be less than 1ms")
    if wanted.retries < 0:
        raise InvalidRequest("Retries in Healthcheck cannot be negative")


def merge_healthcheck(
    wanted: Healthcheck | UnsetType, image: Healthcheck | None
) -> Healthcheck | UnsetType:
    """What was asked for, and the image's for the rest."""
    if image is None:
        return wanted
    if wanted is UNSET:
        return image
    fields = Healthcheck.__struct_fields__
    return structs.replace(
        wanted, **{name: getattr(wanted, name) or getattr(image, name) for name in fields}
    )


def read_healthcheck(wanted: Healthcheck | UnsetType, shell: Sequence[str]) -> Check | None:
    """The check to make, if any; `shell` is the image's, if it names one.

    An image may say anything: what makes no sense there counts as not said.
    """
    test = [] if wanted is UNSET else wanted.test or []
    kind, words = test[:1], test[1:]
    if wanted is UNSET or not words or kind not in (["CMD"], ["CMD-SHELL"]):
        return None
    in_shell = kind == ["CMD-SHELL"]
    given = {
        name: getattr(wanted, name) / 1e9
        for name in _DURATIONS
        if getattr(wanted, name) >= _SHORTEST
    }
    if wanted.retries > 0:
        given["retries"] = wanted.retries
    command = [*(shell or _SHELL), *words] if in_shell else words
    return Check(command, in_shell, **given)
