"""Flags as tables, and the arguments a person gave, read by them as Docker's CLI reads them.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, switches together (`-it`),
`--switch=false`, and `--` before words that are no flags.
"""

from __future__ import annotations

from wherry.cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SWITCH, TEXT, NUMBER, LIST = "", "text", "number", "list"
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class Flag:
    """One row of a command's table.

    `metavar` names the value in the help; `complete` is what a shell may offer for it: a kind of
    object (`container`, `image`, `network`, `volume`, `file`, `directory`) or the words themselves.
    """

    __slots__ = ("complete", "default", "help", "kind", "metavar", "name", "short")

    def __init__(
        self,
        name: str,
        short: str,
        summary: str,
        kind: str,
        default: object,
        metavar: str = "",
        complete: str | tuple[str, ...] = "",
    ) -> None:
        self.name = name
        self.short = short
        self.help = summary
        self.kind = kind
        self.default = default
        self.metavar = metavar
        self.complete = complete

    def __str__(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


def switch(name: str, short: str, summary: str, *, default: bool = False) -> Flag:
    """A flag that is there or not; `--name=false` takes it back."""
    return Flag(name, short, summary, SWITCH, default)


def text(
    name: str,
    short: str,
    summary: str,
    *,
    metavar: str = "string",
    default: str = "",
    complete: str | tuple[str, ...] = "",
) -> Flag:
    """A flag with a value, the last one counts."""
    return Flag(name, short, summary, TEXT, default, metavar, complete)


def number(name: str, short: str, summary: str, *, default: int = 0) -> Flag:
    """A flag with a whole number."""
    return Flag(name, short, summary, NUMBER, default, "int")


def many(
    name: str,
    short: str,
    summary: str,
    *,
    metavar: str = "list",
    complete: str | tuple[str, ...] = "",
) -> Flag:
    """A flag that may be given several times."""
    return Flag(name, short, summary, LIST, (), metavar, complete)


class Arguments:
    """What was typed after the command's name: `words` in their order, and the flags' values."""

    __slots__ = ("_table", "_values", "words")

    def __init__(self, table: tuple[Flag, ...]) -> None:
        self._table = {flag.name: flag for flag in table}
        self._values: dict[str, object] = {}
        self.words: list[str] = []

    def has(self, name: str) -> bool:
        """Whether the command has such a flag at all."""
        return name in self._table

    def given(self, name: str) -> bool:
        """Whether the flag was typed."""
        return name in self._values

    def switch(self, name: str) -> bool:
        """Whether a switch is on."""
        return self._value(name) is True

    def text(self, name: str) -> str:
        """The text of a flag, typed or by default."""
        value = self._value(name)
        assert isinstance(value, str)
        return value

    def number(self, name: str) -> int:
        """The number of a flag, typed or by default."""
        value = self._value(name)
        assert isinstance(value, int)
        return value

    def many(self, name: str) -> list[str]:
        """All values of a flag that may be repeated."""
        value = self._value(name)
        assert isinstance(value, list | tuple)
        return [str(item) for item in value]

    def _value(self, name: str) -> object:
        flag = self._table[name]
        return self._values.get(name, flag.default)

    def set(self, flag: Flag, spelled: str, value: str) -> None:
        """Takes a value as typed. Raises `UsageError` when the flag cannot have it."""
        if flag.kind == SWITCH:
            if value not in _TRUE and value not in _FALSE:
                raise invalid(spelled, value, "say true or false")
            self._values[flag.name] = value in _TRUE
        elif flag.kind == NUMBER:
            try:
                self._values[flag.name] = int(value, 10)
            except ValueError:
                raise invalid(spelled, value, "a whole number is needed") from None
        elif flag.kind == LIST:
            values = self._values.setdefault(flag.name, [])
            assert isinstance(values, list)
            values.append(value)
        else:
            self._values[flag.name] = value


def invalid(flag: str, value: str, reason: str) -> UsageError:
    """The complaint about a flag's value; `flag` as a person writes it, with its dashes."""
    return UsageError(f'invalid argument "{value}" for "{flag}": {reason}', 125)


def parse(table: tuple[Flag, ...], words: Iterable[str], *, interspersed: bool = True) -> Arguments:
    """Reads words by a table of flags.

    Without `interspersed` the first word that is no flag ends the flags: what follows belongs to
    the container (`run`, `create`).

    Raises:
        UsageError: an unknown flag, a flag without its value, or a value it cannot have.
    """
    arguments = Arguments(table)
    long = {flag.name: flag for flag in table}
    short = {flag.short: flag for flag in table if flag.short}
    remaining = iter(words)
    for word in remaining:
        if word == "--":
            arguments.words.extend(remaining)
        elif word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            flag = long.get(name)
            if flag is None:
                raise UsageError(_unknown(f"--{name}", long), 125)
            if not equals:
                value = "true" if flag.kind == SWITCH else _next(remaining, f"--{name}")
            arguments.set(flag, f"--{name}", value)
        elif word.startswith("-") and len(word) > 1:
            _parse_short(arguments, short, word[1:], remaining)
        else:
            arguments.words.append(word)
            if not interspersed:
                arguments.words.extend(remaining)
    return arguments


def _parse_short(
    arguments: Arguments, table: dict[str, Flag], letters: str, remaining: Iterable[str]
) -> None:
    """Letters after a single dash: switches, the last one perhaps with a value."""
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = table.get(letter)
        if flag is None:
            raise UsageError(f"unknown flag: -{letter}", 125)
        if letters.startswith("="):
            arguments.set(flag, f"-{letter}", letters[1:])
            return
        if flag.kind == SWITCH:
            arguments.set(flag, f"-{letter}", "true")
            continue
        arguments.set(flag, f"-{letter}", letters or _next(remaining, f"-{letter}"))
        return


def _next(remaining: Iterable[str], flag: str) -> str:
    for word in remaining:
        return word
    raise UsageError(f"{flag} needs a value", 125)


def _unknown(flag: str, known: Iterable[str]) -> str:
    from wherry.cli.suggest import nearest

    best = nearest(flag[2:], known)
    return f"unknown flag: {flag}" + (f", did you mean --{best}?" if best else "")
