"""JSON that can mean one thing only, each value with the line it stands on.

What is signed, and what decides who is trusted, must be read alike by everyone: no key twice in an
object (of which some readers take the first and others the last), no comments, nothing after the
end. Nesting and numbers are bounded.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
_MAX_DEPTH = 32
_MAX_NUMBER = 40

Content: TypeAlias = "dict[str, Node] | list[Node] | str | int | float | bool | None"


class InvalidJson(ValueError):
    """Not such JSON. `line` is where, counted from one."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the line on which it begins, counted from one."""

    content: Content
    line: int

    def plain(self) -> Any:
        """The value without lines, as `json.loads` gives it."""
        if isinstance(self.content, dict):
            return {key: node.plain() for key, node in self.content.items()}
        if isinstance(self.content, list):
            return [node.plain() for node in self.content]
        return self.content


def parse(data: bytes) -> Node:
    """The one value in `data`. Raises InvalidJson."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidJson("is not UTF-8", data.count(b"\n", 0, error.start) + 1) from None
    reader = _Reader(text)
    node = reader.value(0)
    reader.skip()
    if reader.place < len(text):
        raise reader.wrong("something follows after the end")
    return node


class _Reader:
    """Reads from front to back; `place` is where it stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self._line = 1
        self._counted = 0

    def value(self, depth: int) -> Node:
        self.skip()
        line = self.line()
        first = self.text[self.place : self.place + 1]
        if first in ("{", "["):
            if depth == _MAX_DEPTH:
                raise self.wrong(f"nested more than {_MAX_DEPTH} levels deep")
            self.place += 1
            return Node(self._object(depth) if first == "{" else self._array(depth), line)
        return Node(self._string() if first == '"' else self._scalar(), line)

    def skip(self) -> None:
        match = _SPACE.match(self.text, self.place)
        assert match
        self.place = match.end()

    def line(self) -> int:
        """The line of `place`."""
        self._line += self.text.count("\n", self._counted, self.place)
        self._counted = self.place
        return self._line

    def wrong(self, message: str) -> InvalidJson:
        return InvalidJson(message, self.line())

    def _object(self, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        if self._is_next("}"):
            return found
        while True:
            self.skip()
            if not self.text.startswith('"', self.place):
                raise self.wrong("expected a key in quotation marks")
            key = self._string()
            if key in found:
                raise self.wrong(f"{json.dumps(key[:80])} stands there twice")
            if not self._is_next(":"):
                raise self.wrong("expected ':' after a key")
            found[key] = self.value(depth + 1)
            if self._is_next("}"):
                return found
            if not self._is_next(","):
                raise self.wrong("expected ',' or '}'")

    def _array(self, depth: int) -> list[Node]:
        found: list[Node] = []
        if self._is_next("]"):
            return found
        while True:
            found.append(self.value(depth + 1))
            if self._is_next("]"):
                return found
            if not self._is_next(","):
                raise self.wrong("expected ',' or ']'")

    def _string(self) -> str:
        match = _STRING.match(self.text, self.place)
        try:
            text = json.loads(match[0]) if match else None
            assert isinstance(text, str)
            text.encode()  # half of a surrogate pair is no character
        except (AssertionError, ValueError):
            raise self.wrong("a string that is not well formed") from None
        assert match
        self.place = match.end()
        return text

    def _scalar(self) -> int | float | bool | None:
        match = _SCALAR.match(self.text, self.place)
        if match is None or len(match[0]) > _MAX_NUMBER:
            raise self.wrong("expected a value")
        self.place = match.end()
        value: int | float | bool | None = json.loads(match[0])
        return value

    def _is_next(self, sign: str) -> bool:
        """Whether `sign` comes next; if so it is passed."""
        self.skip()
        if not self.text.startswith(sign, self.place):
            return False
        self.place += 1
        return True
