"""What goes wrong with registries, in one line for people."""

_MAX_TEXT = 300


class RegistryError(Exception):
    """The message is one line: what was wrong, and what to do."""

    def __init__(self, message: str, *, again: bool = False, after: float | None = None) -> None:
        super().__init__(message)
        self.again = again
        """Whether the same request may succeed a little later."""
        self.after = after
        """The seconds the registry asked to be left alone, if it did."""


class NotFound(RegistryError):
    """The registry has no such repository, tag, manifest or blob."""


class Denied(RegistryError):
    """The registry wants other credentials, or none will do."""


class TooManyRequests(RegistryError):
    """The registry wants to be left alone, and did so for longer than is waited."""


class Unreachable(RegistryError):
    """Nobody is there, or the answer ended before it was whole, or it was 5xx, all the time."""


class InvalidAnswer(RegistryError):
    """The answer is not what the protocol says, or not what its digest or size says."""


class Abandoned(RegistryError):
    """`Cancel.cancel` was called."""


UNANSWERED = (Abandoned, TooManyRequests, Unreachable)
"""After these nobody knows what the server has to say; any other is its word."""


def one_line(text: str) -> str:
    """`text` from outside, as a part of a message: printable, on one line, of bounded length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: _MAX_TEXT * 4]).split())
    return line if len(line) <= _MAX_TEXT else f"{line[: _MAX_TEXT - 1]}…"
