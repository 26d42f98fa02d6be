"""The entry point: finds the command, runs it, and turns every end into an exit code."""

from __future__ import annotations

import os
import sys

from wherry.cli.errors import CommandError, Failed, UsageError
from wherry.cli.index import COMMANDS, find
from wherry.cli.session import Session, print_error
from wherry.client import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TextIO

    from wherry.cli.command import Command

ENGINE_FAILED = 125
INTERRUPTED = 130
BROKEN_PIPE = 141


def main() -> NoReturn:
    """What the `wherry` command calls; leaves without the interpreter's slow way out."""
    sys.stdout = _output()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or BROKEN_PIPE
    except OSError as error:
        print_error(f"cannot write the output: {error.strerror}")
        code = code or 1
    os._exit(code)


def _output() -> TextIO:
    """Stdout in UTF-8 whatever the locale, buffered whatever PYTHONUNBUFFERED says.

    An unbuffered one loses what does not fit into a pipe at once.
    """
    try:
        return open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    except OSError:
        return open(os.devnull, "w", encoding="utf-8")


def run(words: list[str]) -> int:
    """Runs one command line; the exit code. Never raises, apart from what ends a test."""
    try:
        return _run(words)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except Failed as failure:
        return failure.exit_code
    except CommandError as error:
        _complain(str(error))
        return error.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        return 1
    except RecursionError:
        _complain("what came back is nested too deeply")
        return 1


def _complain(message: str) -> None:
    """After what stdout was told before, also where both are one pipe."""
    try:  # noqa: SIM105 (contextlib costs time)
        sys.stdout.flush()
    except OSError:
        pass  # the last flush says so
    print_error(message)


def _run(words: list[str]) -> int:
    host, words = _global_flags(words)
    if not words or words[0] in ("-h", "--help", "help"):
        from wherry.cli.help import overview, print_help

        print_help(words[1:]) if len(words) > 1 else sys.stdout.write(overview())
        return 0
    if words[0] in ("-v", "--version"):
        from wherry import __version__

        sys.stdout.write(f"wherry version {__version__}\n")
        return 0
    name, command, rest = find(words)
    if command is None:
        return _no_command(name, rest)
    if _asks_for_help(command, rest):
        from wherry.cli.help import describe

        sys.stdout.write(describe(name, command))
        return 0
    session = Session(host)
    try:
        return command.act(session, command.parse(rest))
    except UsageError as error:
        hint = f"{name}: {error}; see 'wherry {name} --help'"
        raise CommandError(hint, error.exit_code) from None
    except ClientError as error:
        code = ENGINE_FAILED if name in ("run", "container run") else 1
        needed = name.rpartition(" ")[2] in ("run", "create", "connect")
        raise CommandError(session.explain(error, needed=needed), code) from None


def _global_flags(words: list[str]) -> tuple[str, list[str]]:
    """The engine's address, and what stands from the command's name on."""
    host = ""
    words = list(words)
    while words and words[0].startswith("-"):
        word = words[0]
        if word in ("-H", "--host"):
            if len(words) < 2:
                raise CommandError(f"{word} needs an address; see 'wherry --help'", 125)
            host = words[1]
            del words[:2]
        elif word.startswith(("--host=", "-H")):
            host = word.partition("=")[2] if word.startswith("--") else word[2:].lstrip("=")
            del words[0]
        elif word in ("-h", "--help", "-v", "--version"):
            break
        else:
            raise CommandError(f"unknown flag: {word}; see 'wherry --help'", 125)
    return host, words


def _asks_for_help(command: Command, words: list[str]) -> bool:
    """`--help` among the flags, not among what belongs to a container or follows `--`."""
    asking = ("--help",) if any(flag.short == "h" for flag in command.flags) else ("--help", "-h")
    for word in words:
        if word in asking:
            return True
        if word == "--" or (not command.interspersed and not word.startswith("-")):
            return False
    return False


def _no_command(name: str, rest: list[str]) -> int:
    """A group without its command, which is shown, or a word that is none."""
    from wherry.cli.help import group_help
    from wherry.cli.suggest import nearest

    group = group_help(name) if name else ""
    if group and (not rest or rest[0] in ("-h", "--help")):
        sys.stdout.write(group)
        return 0
    prefix = f"{name} " if group else ""
    word = rest[0]
    known = {n[len(prefix) :].partition(" ")[0] for n in COMMANDS if n.startswith(prefix)}
    best = nearest(word, sorted(known))
    hint = f"did you mean 'wherry {prefix}{best}'?" if best else f"see 'wherry {prefix}--help'"
    raise CommandError(f"'{prefix}{word}' is not a wherry command; {hint}")
