"""Runs a template's tree over some data."""

from __future__ import annotations

from wherry.cli.template.errors import TemplateError
from wherry.cli.template.functions import ABSENT, show, truth
from wherry.cli.template.nodes import (
    Branch,
    Call,
    Chain,
    Function,
    Jump,
    Literal,
    Node,
    Pipeline,
    Text,
    Variable,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

MAX_CALLS = 200


class _Jumped(Exception):
    """`break` or `continue` on its way to the range around it."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Evaluator:
    """The state of one run: the dot, the variables, the text so far."""

    def __init__(
        self,
        data: Any,
        functions: Mapping[str, Callable[..., Any]],
        definitions: Mapping[str, list[Node]],
    ) -> None:
        self._dot = data
        self._functions = functions
        self._definitions = definitions
        self._variables: list[tuple[str, Any]] = [("", data)]
        self._out: list[str] = []
        self._calls = 0

    def run(self, nodes: list[Node]) -> str:
        """The text. Raises `TemplateError`."""
        self._walk(nodes)
        return "".join(self._out)

    def _walk(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self._out.append(node.text)
            elif isinstance(node, Pipeline):
                value = self._pipeline(node)
                if not node.variables:
                    self._out.append(show(value))
            elif isinstance(node, Branch):
                self._branch(node)
            elif isinstance(node, Call):
                self._call(node)
            elif isinstance(node, Jump):
                raise _Jumped(node.kind)

    def _branch(self, node: Branch) -> None:
        known = len(self._variables)
        dot = self._dot
        if node.kind == "range":
            self._range(node)
        else:
            value = self._pipeline(node.pipeline)
            if truth(value):
                if node.kind == "with":
                    self._dot = value
                self._walk(node.body)
            else:
                self._walk(node.otherwise)
        self._dot = dot
        del self._variables[known:]

    def _range(self, node: Branch) -> None:
        names = node.pipeline.variables
        value = self._commands(node.pipeline)
        pairs = _pairs(value)
        if not pairs:
            self._walk(node.otherwise)
            return
        dot = self._dot
        known = len(self._variables)
        for key, item in pairs:
            targets = [item] if len(names) == 1 else [key, item]
            for name, target in zip(names, targets, strict=False):
                self._assign(name, target, declares=node.pipeline.declares)
            self._dot = item
            try:
                self._walk(node.body)
            except _Jumped as jump:
                if jump.kind == "break":
                    break
            finally:
                self._dot = dot
                del self._variables[known:]

    def _call(self, node: Call) -> None:
        if node.name not in self._definitions:
            raise TemplateError(f'template "{node.name}" not defined')
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise TemplateError(f'template "{node.name}" calls itself too often')
        value = self._pipeline(node.pipeline) if node.pipeline else None
        dot, self._dot = self._dot, value
        variables, self._variables = self._variables, [("", value)]
        self._walk(self._definitions[node.name])
        self._dot, self._variables = dot, variables
        self._calls -= 1

    def _assign(self, name: str, value: Any, *, declares: bool) -> None:
        if not declares:
            for index in range(len(self._variables) - 1, -1, -1):
                if self._variables[index][0] == name:
                    self._variables[index] = (name, value)
                    return
        self._variables.append((name, value))

    def _pipeline(self, node: Pipeline) -> Any:
        value = self._commands(node)
        for name in node.variables:
            self._assign(name, value, declares=node.declares)
        return value

    def _commands(self, node: Pipeline) -> Any:
        value: Any = None
        for index, operands in enumerate(node.commands):
            value = self._command(operands, [value] if index else [])
        return value

    def _command(self, operands: list[Node], piped: list[Any]) -> Any:
        head = operands[0]
        if isinstance(head, Function):
            return self._function(head.name, operands[1:], piped)
        if isinstance(head, Chain) and head.fields:
            arguments = [self._operand(operand) for operand in operands[1:]] + piped
            return self._chain(head, arguments)
        if len(operands) > 1 or piped:
            raise TemplateError("only functions and methods take arguments")
        return self._operand(head)

    def _function(self, name: str, operands: list[Node], piped: list[Any]) -> Any:
        if name in ("and", "or"):
            return self._logic(name, operands, piped)
        arguments = [self._operand(operand) for operand in operands] + piped
        try:
            return self._functions[name](*arguments)
        except TemplateError:
            raise
        except Exception as error:
            reason = "wrong arguments" if isinstance(error, TypeError) else str(error)
            raise TemplateError(f"error calling {name}: {reason}") from None

    def _logic(self, name: str, operands: list[Node], piped: list[Any]) -> Any:
        """`and` and `or` compute no more of their arguments than they need."""
        value: Any = None
        if not operands and not piped:
            raise TemplateError(f"error calling {name}: wrong arguments")
        for operand in [*operands, *map(Literal, piped)]:
            value = self._operand(operand)
            if truth(value) == (name == "or"):
                break
        return value

    def _operand(self, node: Node) -> Any:
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Variable):
            return self._variable(node.name)
        if isinstance(node, Pipeline):
            return self._pipeline(node)
        if isinstance(node, Function):
            return self._function(node.name, [], [])
        assert isinstance(node, Chain)
        return self._chain(node, [])

    def _variable(self, name: str) -> Any:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise TemplateError(f"undefined variable ${name}")

    def _chain(self, node: Chain, arguments: list[Any]) -> Any:
        value = self._dot if node.start is None else self._operand(node.start)
        for index, name in enumerate(node.fields):
            value = _field(value, name)
            if callable(value):
                given = arguments if index == len(node.fields) - 1 else []
                try:
                    value = value(*given)
                except TypeError:
                    raise TemplateError(f"wrong arguments for .{name}") from None
                if given:
                    return value
        if arguments:
            raise TemplateError(f".{'.'.join(node.fields)} takes no arguments")
        return value


def _field(value: Any, name: str) -> Any:
    if value is None or value is ABSENT:
        raise TemplateError(f"nothing there to take .{name} of")
    if isinstance(value, dict):
        try:
            return value[name]
        except KeyError:
            raise TemplateError(f'there is no field "{name}"') from None
    raise TemplateError(f"can't take field .{name} of {show(value)!r}")


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    """What a range goes over: a list by index, an object by its sorted keys, a number's count."""
    if value is None or value is ABSENT:
        return []
    if isinstance(value, dict):
        return [(key, value[key]) for key in sorted(value)]
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        if value > 1 << 20:
            raise TemplateError(f"range can't iterate over {value}")
        return [(index, index) for index in range(value)]
    raise TemplateError(f"range can't iterate over {show(value)}")
