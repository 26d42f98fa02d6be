"""The tree a template is parsed into."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Node:
    """A part of a template."""

    __slots__ = ()


class Text(Node):
    """What stands outside of actions."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Literal(Node):
    """A string, number, boolean or nil in the template itself."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Chain(Node):
    """A start (`.`, a variable, parentheses) and the fields that hang on it."""

    __slots__ = ("fields", "start")

    def __init__(self, start: Node | None, fields: list[str]) -> None:
        self.start = start
        self.fields = fields


class Variable(Node):
    """`$name`."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Function(Node):
    """The name of a function."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Pipeline(Node):
    """Commands joined by `|`, each a list of operands, and the variables that take the value."""

    __slots__ = ("commands", "declares", "variables")

    def __init__(self, commands: list[list[Node]], variables: list[str], *, declares: bool) -> None:
        self.commands = commands
        self.variables = variables
        self.declares = declares


class Branch(Node):
    """`if`, `with` or `range` (named by `kind`) with its two bodies."""

    __slots__ = ("body", "kind", "otherwise", "pipeline")

    def __init__(
        self, kind: str, pipeline: Pipeline, body: list[Node], otherwise: list[Node]
    ) -> None:
        self.kind = kind
        self.pipeline = pipeline
        self.body = body
        self.otherwise = otherwise


class Call(Node):
    """`{{template "name" pipeline}}`."""

    __slots__ = ("name", "pipeline")

    def __init__(self, name: str, pipeline: Pipeline | None) -> None:
        self.name = name
        self.pipeline = pipeline


class Jump(Node):
    """`break` or `continue`."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind
