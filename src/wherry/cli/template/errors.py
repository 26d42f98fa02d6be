"""What is wrong with a template."""

from __future__ import annotations

from wherry.cli.errors import CommandError


class TemplateError(CommandError):
    """One line that says which part of the template cannot be understood or computed."""

    def __init__(self, message: str) -> None:
        super().__init__(f"template: {message}")
