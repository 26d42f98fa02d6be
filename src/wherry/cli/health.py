"""`--health-…`: what to do now and then to know whether a container is well."""

from __future__ import annotations

from wherry.cli.errors import UsageError
from wherry.cli.flags import invalid
from wherry.client import json
from wherry.durations import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments

_DURATIONS = {
    "health-interval": "Interval",
    "health-timeout": "Timeout",
    "health-start-period": "StartPeriod",
    "health-start-interval": "StartInterval",
}


def describe_healthcheck(arguments: Arguments) -> dict[str, Any]:
    """`Healthcheck` of the container to be made; what is not said is the image's.

    Raises `UsageError` with exit code 125.
    """
    given = [
        name for name in (*_DURATIONS, "health-cmd", "health-retries") if arguments.given(name)
    ]
    if arguments.switch("no-healthcheck"):
        if given:
            raise UsageError("--no-healthcheck conflicts with --health-* options", 125)
        return {"Test": ["NONE"]}
    check: dict[str, Any] = {}
    if arguments.text("health-cmd"):
        check["Test"] = _test(arguments.text("health-cmd"))
    for name, field in _DURATIONS.items():
        if arguments.given(name):
            check[field] = _duration(name, arguments.text(name))
    if arguments.given("health-retries"):
        check["Retries"] = arguments.number("health-retries")
        if check["Retries"] < 0:
            raise UsageError("--health-retries cannot be negative", 125)
    return check


def _test(command: str) -> list[str]:
    """A JSON list of words is run as it is: few images of Wasm programs have a shell."""
    if command.lstrip().startswith("["):
        try:
            words = json.decode(command)
        except json.InvalidJSON as error:
            raise invalid("--health-cmd", command, f"the list of words is {error}") from None
        if not words or not all(isinstance(word, str) for word in words):
            raise invalid("--health-cmd", command, "a list of words is needed")
        return ["CMD", *words]
    return ["CMD-SHELL", command]


def _duration(name: str, text: str) -> int:
    try:
        nanoseconds = parse_duration(text)
    except ValueError:
        raise invalid(f"--{name}", text, "write a duration like 30s or 1m30s") from None
    if nanoseconds < 0:
        raise UsageError(f"--{name} cannot be negative", 125)
    return nanoseconds
