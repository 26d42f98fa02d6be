"""From a command line to a command, and from an error to what its caller reads."""

import gc
import os
import sys

from wherry.interpreter import forgo
from wherry.runtime.command.options import Options, UsageError
from wherry.runtime.exits import LaunchError

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_USAGE = """\
usage: wherry-runtime [OPTIONS] COMMAND

  run ID               run the container of a bundle: create, start, wait, delete
  create ID            make the container of a bundle; its program does not run yet
  start ID             let a created container run
  exec ID ARGUMENTS    run one more program in a container
  kill ID [SIGNAL]     send a signal to a container
  delete ID            remove what is left of a container
  state ID, list       tell how one or all containers are
  ps ID, events ID     show a container's processes, what it uses
  pause ID, resume ID  stop and go on
  update ID            change a container's limits
  features             tell what this runtime can do
  spec                 write a config.json to begin with
  precompile FILE...   compile modules into the cache, so that they start at once
  check-code           read all compiled code, and say what is damaged (--repair removes it)

  --root DIR           where containers are kept
  --log FILE           append errors to FILE, as --log-format text or json
  --systemd-cgroup     put cgroups where systemd would (cgroupsPath is SLICE:PREFIX:NAME)
  --debug, --version
"""


class HandOn(Exception):
    """Another program is to take this process's place, with the arguments `argv`."""

    def __init__(self, argv: list[str]) -> None:
        super().__init__(argv[0])
        self.argv = argv


def main(arguments: list[str] | None = None) -> "NoReturn":
    """Run the command and exit with its status."""
    # A process this short makes no garbage worth a look, and dies faster than it tidies up.
    gc.disable()
    status = answer(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = 1
    os._exit(status)


def answer(arguments: list[str]) -> int:
    """Run the command and return its exit status."""
    try:
        options = Options(arguments)
    except UsageError as error:
        _report(None, f"{error.message} (see wherry-runtime --help)")
        return error.exit_code
    try:
        return settle(options, lambda options: _find(options.command)(options))
    except HandOn as other:
        os.execv(other.argv[0], other.argv)  # noqa: S606


def settle(options: Options, command: "Callable[[Options], int]") -> int:
    """Run `command` and return its exit status, with what is wrong told as callers expect.

    Raises HandOn if it is another program's.
    """
    try:
        return command(options)
    except UsageError as error:
        _report(options, f"{error.message} (see wherry-runtime --help)")
        return error.exit_code
    except LaunchError as error:
        _report(options, error.message)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


_HOMES = {
    "create": "create",
    "run": "run",
    "start": "life",
    "kill": "life",
    "delete": "life",
    "state": "state",
    "list": "state",
    "exec": "execute",
    "ps": "limits",
    "pause": "limits",
    "resume": "limits",
    "update": "limits",
    "events": "events",
    "features": "about",
    "spec": "about",
    "precompile": "about",
    "check-code": "about",
    "version": "about",
}
"""The module of each command, whose COMMANDS has its function."""


def _find(name: str) -> "Callable[[Options], int]":
    """The function of a command. Only its own module is imported. Raises UsageError."""
    if name in ("", "help"):
        return _help
    if name not in _HOMES:
        raise UsageError(f"there is no command {name!r}")
    forgo("typing_extensions", "_hashlib")
    home = __import__(f"wherry.runtime.command.{_HOMES[name]}", fromlist=["COMMANDS"])
    command: Callable[[Options], int] = home.COMMANDS[name]
    return command


def _help(options: Options) -> int:
    sys.stdout.write(_USAGE)
    return 0 if options.command else 1


def _report(options: Options | None, message: str) -> None:
    """Say what was wrong where callers look for it: on stderr, and in the log they named."""
    from wherry.runtime.command import log

    sys.stderr.write(f"wherry-runtime: {message}\n")
    if options is not None:
        log.write(options, "error", message)
