"""What `--help` says, drawn from the same tables the flags are read by."""

from __future__ import annotations

import sys

from wherry.cli.errors import CommandError
from wherry.cli.flags import LIST, NUMBER, SWITCH
from wherry.cli.index import COMMANDS, FAMILIES, GROUPS, find, is_family, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.cli.command import Command
    from wherry.cli.flags import Flag

_WIDTH = 80
_IN_SHORT = {"Containers": "container"}
"""Groups that the overview only names, and the word whose help explains them."""
_EXAMPLES = (
    ("wherry build -t hello .", "a Dockerfile becomes an image"),
    ("wherry run --rm hello", "run it, and leave nothing behind"),
    ("wherry run ./tool.wasm --verbose", "run a file that is no image yet"),
    ("wherry run -d -p 8080:80 -v data:/d web", "in the background, with a port"),
)


def overview() -> str:
    """`wherry --help`."""
    out = ["Build, ship and run WebAssembly applications as containers.\n\n"]
    out.append("Usage:  wherry [OPTIONS] COMMAND [ARG...]\n")
    for title, names in GROUPS:
        if title in _IN_SHORT:
            out.append(f"\n{title} ('wherry {_IN_SHORT[title]} --help' says more):\n")
            out.extend(f"  {line}\n" for line in _wrap(", ".join(names), _WIDTH))
            continue
        out.append(f"\n{title}:\n")
        out.extend(_columns([(name, _summary(name)) for name in names]))
    out.append("\nExamples:\n")
    out.extend(f"  {line:<46} # {meaning}\n" for line, meaning in _EXAMPLES)
    out.append(
        "\nOptions:\n"
        "  -H, --host ADDRESS   Engine to talk to: unix:///PATH or tcp://HOST:PORT\n"
        "                       (default: $WHERRY_HOST, or your own, started when needed)\n"
        "  -v, --version        Print the version and quit\n"
        "\nRun 'wherry COMMAND --help' for more about a command.\n"
    )
    return "".join(out)


def group_help(name: str) -> str:
    """Help of a word that has commands behind it, or empty when it has none."""
    if not is_family(name):
        return ""
    out = [f"Usage:  wherry {name} COMMAND\n"]
    if name in FAMILIES:
        out.append(f"\n{FAMILIES[name]}\n")
    out.append("\nCommands:\n")
    shortest: dict[str, str] = {}
    for full in sorted(COMMANDS, key=len):
        if full.startswith(f"{name} "):
            shortest.setdefault(COMMANDS[full], full)
    known = sorted(shortest.values())
    out.extend(_columns([(full[len(name) + 1 :], load(full).summary) for full in known]))
    out.append(f"\nRun 'wherry {name} COMMAND --help' for more about a command.\n")
    return "".join(out)


def describe(name: str, command: Command) -> str:
    """`wherry COMMAND --help`."""
    options = "[OPTIONS]" if command.flags else ""
    usage = " ".join(filter(None, ("wherry", name, options, command.usage)))
    out = [f"Usage:  {usage}\n\n{command.summary}\n"]
    if command.detail:
        out.append(f"\n{command.detail}\n")
    aliases = [other for other in COMMANDS if COMMANDS[other] == COMMANDS[name]]
    if len(aliases) > 1:
        out.append(f"\nAliases:  {', '.join(f'wherry {alias}' for alias in aliases)}\n")
    if command.examples:
        out.append("\nExamples:\n")
        out.extend(f"  {example}\n" for example in command.examples)
    if command.flags:
        out.append(f"\nOptions:\n{''.join(_flag_lines(command.flags))}")
    return "".join(out)


def print_help(words: list[str]) -> None:
    """`wherry help COMMAND`. Raises `CommandError` for a word that is no command."""
    name, command, _ = find(words)
    if command is not None:
        sys.stdout.write(describe(name, command))
        return
    group = group_help(name)
    if not group:
        raise CommandError(f"'{' '.join(words)}' is not a wherry command; see 'wherry --help'")
    sys.stdout.write(group)


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    """Lines of names and what they stand for."""
    width = max(12, *(len(name) + 2 for name, _ in rows))
    return [f"  {name:<{width}}{meaning}\n" for name, meaning in rows]


def _summary(name: str) -> str:
    return load(name).summary if name in COMMANDS else FAMILIES[name]


def _flag_lines(flags: Iterable[Flag]) -> list[str]:
    """The table of flags: short and long name, kind of value, what it does, its default."""
    rows = [(_left(flag), _right(flag)) for flag in sorted(flags, key=lambda flag: flag.name)]
    width = max(len(left) for left, _ in rows) + 3
    lines: list[str] = []
    for left, right in rows:
        first, *further = _wrap(right, max(30, _WIDTH - width - 2))
        lines.append(f"  {left:<{width}}{first}\n")
        lines.extend(f"  {'':<{width}}{line}\n" for line in further)
    return lines


def _left(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    return f"{short}--{flag.name} {flag.metavar}".rstrip()


def _right(flag: Flag) -> str:
    if flag.kind == SWITCH:
        return f"{flag.help} (default true)" if flag.default is True else flag.help
    if flag.kind == LIST or not flag.default:
        return flag.help
    shown = flag.default if flag.kind == NUMBER else f'"{flag.default}"'
    return f"{flag.help} (default {shown})"


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines
