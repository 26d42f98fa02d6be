"""How a command ends when it cannot do what was asked: one line for a person and an exit code."""

from __future__ import annotations


class CommandError(Exception):
    """`message` goes to stderr as one line; the command ends with `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(CommandError):
    """What was typed cannot be understood; the line ends with where to find help."""


class Failed(Exception):
    """The command has told what went wrong itself; only the exit code is left to set."""

    def __init__(self, exit_code: int = 1) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code
