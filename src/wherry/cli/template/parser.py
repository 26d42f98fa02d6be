"""From the pieces of a template to its tree."""

from __future__ import annotations

from wherry.cli.template.errors import TemplateError
from wherry.cli.template.lexer import TEXT, Token, pieces, tokens
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
    from collections.abc import Container

_CONSTANTS = {"true": True, "false": False, "nil": None}
MAX_DEPTH = 100


class Parser:
    """One pass over a template; `definitions` are its named parts."""

    def __init__(self, source: str, functions: Container[str]) -> None:
        self._pieces = list(pieces(source))
        self._position = 0
        self._functions = functions
        self._variables = [""]
        self._loops = 0
        self._depth = 0
        self.definitions: dict[str, list[Node]] = {}

    def parse(self) -> list[Node]:
        """The whole template. Raises `TemplateError`."""
        nodes, end = self._body()
        if end is not None:
            raise TemplateError(f"unexpected '{end[0].value}'")
        return nodes

    def _body(self) -> tuple[list[Node], list[Token] | None]:
        """Nodes up to `end` or `else` (whose words are returned), or the end of the text."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateError("nested too deeply")
        nodes: list[Node] = []
        end: list[Token] | None = None
        while self._position < len(self._pieces):
            kind, source = self._pieces[self._position]
            self._position += 1
            if kind == TEXT:
                nodes.append(Text(source))
                continue
            words = tokens(source)
            if not words:
                raise TemplateError("an action is empty")
            if words[0].kind == "name" and words[0].value in ("end", "else"):
                end = words
                break
            node = self._action(words)
            if node is not None:
                nodes.append(node)
        self._depth -= 1
        return nodes, end

    def _action(self, words: list[Token]) -> Node | None:
        keyword = words[0].value if words[0].kind == "name" else ""
        if keyword in ("if", "with", "range"):
            return self._branch(str(keyword), words[1:])
        if keyword in ("break", "continue"):
            if not self._loops or len(words) > 1:
                raise TemplateError(f"'{keyword}' stands outside of a range")
            return Jump(str(keyword))
        if keyword == "template":
            name, rest = self._name_of(words)
            return Call(name, self._pipeline(rest) if rest else None)
        if keyword in ("define", "block"):
            return self._definition(str(keyword), words)
        return self._pipeline(words)

    def _definition(self, keyword: str, words: list[Token]) -> Node | None:
        name, rest = self._name_of(words)
        call = Call(name, self._pipeline(rest)) if keyword == "block" else None
        if keyword == "define" and rest:
            raise TemplateError(f"unexpected words after define {name!r}")
        variables, self._variables = self._variables, [""]
        loops, self._loops = self._loops, 0
        body, end = self._body()
        self._variables, self._loops = variables, loops
        self._expect_end(keyword, end)
        self.definitions[name] = body
        return call

    @staticmethod
    def _name_of(words: list[Token]) -> tuple[str, list[Token]]:
        if len(words) < 2 or words[1].kind != "string":
            raise TemplateError(f"'{words[0].value}' needs a name in quotes")
        return str(words[1].value), words[2:]

    @staticmethod
    def _expect_end(keyword: str, end: list[Token] | None) -> None:
        if end is None or end[0].value != "end" or len(end) > 1:
            raise TemplateError(f"'{keyword}' has no end")

    def _branch(self, kind: str, words: list[Token]) -> Branch:
        known = len(self._variables)
        pipeline = self._pipeline(words, loop=kind == "range")
        self._loops += kind == "range"
        body, end = self._body()
        self._loops -= kind == "range"
        otherwise: list[Node] = []
        if end is not None and end[0].value == "else":
            if len(end) > 1:
                if end[1].value != kind or kind == "range":
                    raise TemplateError(f"'else {end[1].value}' does not belong to '{kind}'")
                otherwise = [self._branch(kind, end[2:])]
                end = [Token("name", "end", spaced=False)]
            else:
                otherwise, end = self._body()
        del self._variables[known:]
        self._expect_end(kind, end)
        return Branch(kind, pipeline, body, otherwise)

    def _pipeline(self, words: list[Token], *, loop: bool = False) -> Pipeline:
        variables, declares, words = self._declaration(words, loop=loop)
        reader = _Reader(words, self._functions, self._variables)
        commands = reader.commands()
        if reader.rest:
            raise TemplateError(f"unexpected {reader.rest[0].value!r}")
        if declares:
            self._variables.extend(variables)
        return Pipeline(commands, variables, declares=declares)

    def _declaration(
        self, words: list[Token], *, loop: bool
    ) -> tuple[list[str], bool, list[Token]]:
        """`$x :=`, `$x =`, and for a range `$i, $x :=`."""
        for count in (1, 2):
            signs = [str(word.value) for word in words[1 : 2 * count : 2]]
            targets = [word for word in words[: 2 * count : 2] if word.kind == "variable"]
            if len(targets) == count and signs and signs[-1] in (":=", "="):
                if signs[:-1] not in ([], [","]) or (count == 2 and not loop):
                    break
                names = [str(word.value) for word in targets]
                declares = signs[-1] == ":="
                for name in names if not declares else ():
                    if name not in self._variables:
                        raise TemplateError(f"undefined variable ${name}")
                return names, declares, words[2 * count :]
        return [], False, words


class _Reader:
    """The words of one pipeline, read from the left."""

    def __init__(self, words: list[Token], functions: Container[str], variables: list[str]) -> None:
        self.rest = words
        self._functions = functions
        self._variables = variables
        self._depth = 0

    def commands(self) -> list[list[Node]]:
        """Commands up to a closing parenthesis or the end."""
        out = [self._command()]
        while self.rest and self.rest[0].value == "|" and self.rest[0].kind == "symbol":
            self.rest = self.rest[1:]
            out.append(self._command())
        if any(isinstance(command[0], Literal) for command in out[1:]):
            raise TemplateError("what follows '|' must be a function or a field")
        return out

    def _command(self) -> list[Node]:
        operands: list[Node] = []
        while self.rest and not (
            self.rest[0].kind == "symbol" and self.rest[0].value in ("|", ")")
        ):
            operands.append(self._operand())
        if not operands:
            raise TemplateError("a value is missing")
        return operands

    def _operand(self) -> Node:
        token, self.rest = self.rest[0], self.rest[1:]
        node = self._start(token)
        fields = [str(token.value)] if token.kind == "field" else []
        while self.rest and self.rest[0].kind == "field" and not self.rest[0].spaced:
            fields.append(str(self.rest[0].value))
            self.rest = self.rest[1:]
        if fields and isinstance(node, Literal):
            raise TemplateError(f"a constant has no field .{fields[0]}")
        return Chain(node, fields) if fields or node is None else node

    def _start(self, token: Token) -> Node | None:
        """What an operand begins with; None stands for the dot."""
        if token.kind in ("string", "number"):
            return Literal(token.value)
        if token.kind == "field" or token.value == ".":
            return None
        if token.kind == "variable":
            if token.value not in self._variables:
                raise TemplateError(f"undefined variable ${token.value}")
            return Variable(str(token.value))
        if token.kind == "name":
            name = str(token.value)
            if name in _CONSTANTS:
                return Literal(_CONSTANTS[name])
            if name not in self._functions:
                raise TemplateError(f'function "{name}" not defined')
            return Function(name)
        if token.value == "(":
            return self._parentheses()
        raise TemplateError(f"unexpected {token.value!r}")

    def _parentheses(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateError("nested too deeply")
        commands = self.commands()
        if not self.rest:
            raise TemplateError("a parenthesis is not closed")
        self.rest = self.rest[1:]
        self._depth -= 1
        return Pipeline(commands, [], declares=False)
