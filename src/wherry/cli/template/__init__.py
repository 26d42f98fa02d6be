"""Go's text/template, as far as Docker's `--format` needs it.

Fields, methods with arguments, variables, pipelines, `if`, `with`, `range` (with `else`, `break`
and `continue`), `define`, `template`, `block`, comments, trimming, the built-in functions of the
package and Docker's own (`json`, `join`, `lower`, `pad`, `split`, `title`, `truncate`, `upper`).
"""

from __future__ import annotations

from wherry.cli.template.errors import TemplateError
from wherry.cli.template.evaluator import Evaluator
from wherry.cli.template.functions import FUNCTIONS, HEADER_FUNCTIONS, show
from wherry.cli.template.parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["HEADER_FUNCTIONS", "Template", "TemplateError", "show"]


NOT_A_TEMPLATE = 64
"""Docker's exit code for a template that cannot be parsed."""


class Template:
    """A parsed template. Raises `TemplateError` when the text is none."""

    def __init__(self, source: str) -> None:
        try:
            parser = Parser(source, FUNCTIONS)
            self._root = parser.parse()
        except TemplateError as error:
            error.exit_code = NOT_A_TEMPLATE
            raise
        self._definitions = parser.definitions

    def render(self, data: Any, functions: Mapping[str, Callable[..., Any]] | None = None) -> str:
        """The text for some data. Raises `TemplateError`, also for a field that is not there."""
        table = {**FUNCTIONS, **functions} if functions else FUNCTIONS
        return Evaluator(data, table, self._definitions).run(self._root)
