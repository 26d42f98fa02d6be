"""From the template's text to pieces: plain text, and the words inside `{{ }}`."""

from __future__ import annotations

from wherry.cli.template.errors import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = " \t\r\n"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_NUMBER = frozenset("0123456789abcdefABCDEFxXoO._")
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "'": "'",
}

TEXT, ACTION = "text", "action"


class Token:
    """A word of an action: `kind` is one of name, field, variable, string, number, symbol."""

    __slots__ = ("kind", "spaced", "value")

    def __init__(self, kind: str, value: object, *, spaced: bool) -> None:
        self.kind = kind
        self.value = value
        self.spaced = spaced
        """Whether white space stands before it."""

    def __repr__(self) -> str:
        return f"{self.kind} {self.value!r}"


def pieces(source: str) -> Iterator[tuple[str, str]]:
    """Pairs of (`text` | `action`, its source), comments left out, `{{-` and `-}}` applied."""
    position = 0
    trim = False
    while True:
        start = source.find("{{", position)
        text = source[position:] if start < 0 else source[position:start]
        if trim:
            text = text.lstrip(_SPACE)
        if start < 0:
            if text:
                yield TEXT, text
            return
        inside = start + 2
        if source[inside : inside + 1] == "-" and source[inside + 1 : inside + 2] in tuple(_SPACE):
            text = text.rstrip(_SPACE)
            inside += 1
        if text:
            yield TEXT, text
        end = _action_end(source, inside)
        action = source[inside:end]
        trim = action.endswith("-") and action[-2:-1] in tuple(_SPACE)
        if trim:
            action = action[:-1]
        if not action.strip(_SPACE).startswith("/*"):
            yield ACTION, action
        position = end + 2


def _action_end(source: str, start: int) -> int:
    """Where the `}}` of an action stands, quotes and comments skipped."""
    position = start
    while position < len(source):
        character = source[position]
        if source.startswith("}}", position):
            return position
        if source.startswith("/*", position):
            position = source.find("*/", position)
            if position < 0:
                raise TemplateError("a comment is not closed")
            position += 1
        elif character in "\"'`":
            position = _quoted_end(source, position)
        position += 1
    raise TemplateError("an action is not closed: '}}' is missing")


def _quoted_end(source: str, start: int) -> int:
    quote = source[start]
    position = start + 1
    while position < len(source) and source[position] != quote:
        position += 2 if source[position] == "\\" and quote != "`" else 1
    if position >= len(source):
        raise TemplateError(f"a {quote} is not closed")
    return position


def tokens(action: str) -> list[Token]:
    """The words of one action. Raises `TemplateError` for a character that belongs nowhere."""
    out: list[Token] = []
    position = 0
    spaced = True
    while position < len(action):
        character = action[position]
        following = action[position + 1 : position + 2]
        if character in _SPACE:
            spaced = True
            position += 1
            continue
        if character in "\"'`":
            end = _quoted_end(action, position)
            out.append(_string(action[position : end + 1], spaced=spaced))
            position = end + 1
        elif (character == "." and following not in _NAME) or character in "|()=,":
            out.append(Token("symbol", character, spaced=spaced))
            position += 1
        elif character == ":" and following == "=":
            out.append(Token("symbol", ":=", spaced=spaced))
            position += 2
        elif character in ".$":
            end = _word_end(action, position + 1)
            kind = "field" if character == "." else "variable"
            out.append(Token(kind, action[position + 1 : end], spaced=spaced))
            position = end
        elif character.isdigit() or (character in "+-" and following.isdigit()):
            position = _number(action, position, out, spaced=spaced)
        elif character.isalpha() or character == "_":
            end = _word_end(action, position)
            out.append(Token("name", action[position:end], spaced=spaced))
            position = end
        else:
            raise TemplateError(f"unexpected {character!r} in '{action.strip()}'")
        spaced = False
    return out


def _word_end(action: str, position: int) -> int:
    while position < len(action) and (action[position] in _NAME or action[position].isalpha()):
        position += 1
    return position


def _number(action: str, start: int, out: list[Token], *, spaced: bool) -> int:
    end = start + 1
    while end < len(action) and (
        action[end] in _NUMBER or (action[end] in "+-" and action[end - 1] in "eE")
    ):
        end += 1
    word = action[start:end]
    try:
        value: int | float = int(word, 0)
    except ValueError:
        try:
            value = float(word)
        except ValueError:
            raise TemplateError(f"not a number: {word}") from None
    out.append(Token("number", value, spaced=spaced))
    return end


def _string(quoted: str, *, spaced: bool) -> Token:
    quote, inside = quoted[0], quoted[1:-1]
    if quote == "`":
        return Token("string", inside, spaced=spaced)
    out: list[str] = []
    position = 0
    while position < len(inside):
        character = inside[position]
        if character != "\\":
            out.append(character)
            position += 1
            continue
        letter = inside[position + 1 : position + 2]
        length = {"x": 2, "u": 4, "U": 8}.get(letter, 0)
        if length:
            digits = inside[position + 2 : position + 2 + length]
            try:
                out.append(chr(int(digits, 16)))
            except (ValueError, OverflowError):
                raise TemplateError(f"not a character: \\{letter}{digits}") from None
        elif letter in _ESCAPES:
            out.append(_ESCAPES[letter])
        else:
            raise TemplateError(f"unknown escape: \\{letter}")
        position += 2 + length
    if quote == "'":
        if len(out) != 1:
            raise TemplateError(f"not one character: {quoted}")
        return Token("number", ord(out[0]), spaced=spaced)
    return Token("string", "".join(out), spaced=spaced)
