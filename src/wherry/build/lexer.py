"""A Dockerfile as text to logical lines: directives, comments, continuations, here-documents.

What a line means is the parser's business. Pure functions; the rules are those of the Dockerfile
reference, "Format", "Parser directives" and "Here-documents".
"""

import re

import msgspec

from wherry.build.errors import BuildError
from wherry.build.expansion import ExpansionError, expand

MAX_DOCKERFILE = 1 << 20
"""Bytes."""

_DIRECTIVE = re.compile(r"#[ \t]*([a-zA-Z][a-zA-Z0-9]*)[ \t]*=[ \t]*(.+?)[ \t]*")
_KNOWN_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")
_TAKES_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})


class Heredoc(msgspec.Struct, frozen=True):
    """A here-document: its name, its lines, and whether variables in them are to be replaced."""

    name: str
    content: str
    expand: bool


class Line(msgspec.Struct, frozen=True):
    """A logical line: `number` is where it starts, from 1; `keyword` is in upper case."""

    number: int
    keyword: str
    rest: str
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def text(self) -> str:
        """The line as progress and history show it, without the here-documents' content."""
        return f"{self.keyword} {self.rest}".rstrip()


class Script(msgspec.Struct, frozen=True):
    """A whole Dockerfile as lines."""

    directives: dict[str, str]
    lines: tuple[Line, ...]

    @property
    def escape(self) -> str:
        """The escape character, a backslash unless the directive says a backtick."""
        return self.directives.get("escape", "\\")


def read_script(source: bytes, file: str) -> Script:
    """Split a Dockerfile into logical lines; `file` is its name in errors. Raises BuildError."""
    if len(source) > MAX_DOCKERFILE:
        raise BuildError(f"the Dockerfile is larger than {MAX_DOCKERFILE >> 20} MiB", file, 1)
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = source.count(b"\n", 0, error.start) + 1
        raise BuildError("the Dockerfile is not UTF-8 text: convert it", file, number) from None
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        raise BuildError("the Dockerfile holds a zero byte: it is not text", file, number)
    return _Lexer(text, file).script()


def split_words(text: str, escape: str) -> list[str]:
    """Split at blanks that stand outside quotes and escapes; quotes and escapes stay."""
    words: list[str] = []
    word = quote = ""
    at = 0
    while at < len(text):
        character = text[at]
        if character == escape and quote != "'" and at + 1 < len(text):
            word += text[at : at + 2]
            at += 2
            continue
        at += 1
        if not quote and character.isspace():
            if word:
                words.append(word)
            word = ""
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        word += character
    return [*words, word] if word else words


class _Lexer:
    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._physical = [line.removesuffix("\r") for line in text.split("\n")]
        self._next = 0
        self._directives = self._read_directives()
        self._escape = self._directives.get("escape", "\\")
        mark = re.escape(self._escape)
        self._continuation = re.compile(rf"(?:(?<=[^{mark}])|^){mark}[ \t]*$")

    def script(self) -> Script:
        lines: list[Line] = []
        while (line := self._read_line()) is not None:
            lines.append(line)
        return Script(self._directives, tuple(lines))

    def _read_directives(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for number, physical in enumerate(self._physical, 1):
            match = _DIRECTIVE.fullmatch(physical.strip(" \t"))
            name = match.group(1).lower() if match else ""
            if match is None or name not in _KNOWN_DIRECTIVES:
                break
            if name in found:
                raise BuildError(f"the directive {name!r} is given twice", self._file, number)
            if name == "escape" and match.group(2) not in ("\\", "`"):
                message = f"escape={match.group(2)}: the escape character is \\ or `"
                raise BuildError(message, self._file, number)
            found[name] = match.group(2)
        return found

    def _read_line(self) -> Line | None:
        start = 0
        gathered: list[str] = []
        while self._next < len(self._physical):
            physical = self._physical[self._next]
            self._next += 1
            stripped = physical.strip()
            if not stripped or stripped.startswith("#"):
                continue
            if not gathered:
                start = self._next
                physical = physical.lstrip()
            match = self._continuation.search(physical)
            gathered.append(physical[: match.start()] if match else physical)
            if not match:
                break
        text = "".join(gathered).strip()
        if not text:
            if gathered:
                raise BuildError("nothing before or after the escape character", self._file, start)
            return None
        keyword, *rest = text.split(None, 1)
        keyword, argument = keyword.upper(), rest[0] if rest else ""
        return Line(start, keyword, argument, self._read_heredocs(keyword, argument, start))

    def _read_heredocs(self, keyword: str, argument: str, start: int) -> tuple[Heredoc, ...]:
        if keyword == "ONBUILD":
            trigger, *rest = argument.split(None, 1) or [""]
            keyword, argument = trigger.upper(), rest[0] if rest else ""
        if keyword not in _TAKES_HEREDOCS or "<<" not in argument:
            return ()
        marks = (heredoc_mark(word, self._escape) for word in split_words(argument, self._escape))
        return tuple(self._read_heredoc(*mark, start) for mark in marks if mark)

    def _read_heredoc(self, name: str, expands: bool, strip: bool, start: int) -> Heredoc:
        content: list[str] = []
        while self._next < len(self._physical):
            physical = self._physical[self._next]
            self._next += 1
            if strip:
                physical = physical.lstrip("\t")
            if physical == name:
                return Heredoc(name, "".join(f"{line}\n" for line in content), expands)
            content.append(physical)
        message = f"the here-document never ends: a line with just {name!r} is missing"
        raise BuildError(message, self._file, start)


def heredoc_mark(word: str, escape: str) -> tuple[str, bool, bool] | None:
    """Read a word like `<<EOF` or `<<-"EOF"`: its name, whether to expand, whether to strip tabs.

    None if the word announces no here-document.
    """
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    try:
        name = expand(match.group(2), {}, escape)
    except ExpansionError:
        return None
    return (name, name == match.group(2), bool(match.group(1))) if name else None
