"""A command: its table of flags, what it takes, what it does, and how its help reads."""

from __future__ import annotations

from wherry.cli.errors import UsageError
from wherry.cli.flags import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.cli.flags import Arguments, Flag
    from wherry.cli.session import Session

    Action = Callable[[Session, Arguments], int]

UNLIMITED = 1 << 30


class Command:
    """`usage` is the line after the name; `words` says what the words after the flags are.

    `complete` names what a shell may offer for each of these words, the last one for all further
    ones. `least` and `most` bound their number.
    """

    __slots__ = (
        "act",
        "complete",
        "detail",
        "examples",
        "flags",
        "interspersed",
        "least",
        "most",
        "summary",
        "usage",
    )

    def __init__(
        self,
        act: Action,
        summary: str,
        usage: str = "",
        flags: tuple[Flag, ...] = (),
        *,
        least: int = 0,
        most: int = 0,
        complete: tuple[str | tuple[str, ...], ...] = (),
        detail: str = "",
        examples: tuple[str, ...] = (),
        interspersed: bool = True,
    ) -> None:
        self.act = act
        self.summary = summary
        self.usage = usage
        self.flags = flags
        self.least = least
        self.most = most
        self.complete = complete
        self.detail = detail
        self.examples = examples
        self.interspersed = interspersed

    def parse(self, words: list[str]) -> Arguments:
        """Reads what was typed after the name. Raises `UsageError`."""
        arguments = parse(self.flags, words, interspersed=self.interspersed)
        count = len(arguments.words)
        if self.least <= count <= self.most:
            return arguments
        if self.most == 0:
            raise UsageError(f"takes no arguments, got {arguments.words[0]!r}")
        if count < self.least:
            adverb = "" if self.least == self.most else "at least "
            expected = self.least
        else:
            adverb = "" if self.least == self.most else "at most "
            expected = self.most
        plural = "" if expected == 1 else "s"
        raise UsageError(f"needs {adverb}{expected} argument{plural}, got {count}")
