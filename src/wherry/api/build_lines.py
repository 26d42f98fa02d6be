"""A build's events in the words of Docker's classic builder, which its clients print."""

from typing import Any

from wherry.engine.builds.building import (
    BuildEvent,
    Built,
    StepFinished,
    StepOutput,
    StepStarted,
    Tagged,
    TriggersFound,
    Warned,
)

_SHORT = 12


def shown(event: BuildEvent, *, quiet: bool) -> list[dict[str, Any]]:
    """The documents that tell of `event`; when `quiet`, of the image's id only."""
    if quiet:
        return _lines(f"{event.id}\n") if isinstance(event, Built) else []
    match event:
        case StepStarted(number=number, total=total, text=text):
            return _lines(f"Step {number}/{total} : {text}\n")
        case TriggersFound(count=count):
            return _lines(f"# Executing {count} build trigger{'s' if count > 1 else ''}\n")
        case StepOutput(data=data):
            return _lines(data.decode(errors="replace"))
        case StepFinished(id=id, cached=cached, seconds=seconds):
            lines = [" ---> Using cache\n"] if cached else []
            # Steps of stages that were built at once are told of later than they took place.
            return [*_lines(*lines), {"stream": f" ---> {id}\n", "seconds": round(seconds, 3)}]
        case Warned(message=message):
            return _lines(f"[Warning] {message}\n")
        case Built(id=id):
            short = id.removeprefix("sha256:")[:_SHORT]
            return [{"aux": {"ID": id}}, *_lines(f"Successfully built {short}\n")]
        case Tagged(name=name):
            return _lines(f"Successfully tagged {name}\n")
        case _:
            from wherry.api import transfer_lines

            return transfer_lines.shown(event)


def _lines(*lines: str) -> list[dict[str, Any]]:
    return [{"stream": line} for line in lines]
