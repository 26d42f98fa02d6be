"""Variables, quotes and escapes in the words of a Dockerfile.

The rules are those of the Dockerfile reference, "Environment replacement": `$name`, `${name}` and
the modifiers `:-` `-` `:+` `+` `:?` `?` `#` `##` `%` `%%` `/` `//`; single quotes keep everything,
double quotes keep spaces, the escape character keeps the next character. Pure functions.
"""

import re
from collections.abc import Mapping

_NAME = re.compile(r"[0-9]+|[@*#?$!-]|\w+")
_MAX_DEPTH = 50
_WILDCARDS = {"*": ".*", "?": "."}
_LAZY = ".*?"
MAX_EXPANSION = 1 << 20
"""Characters that the variables of one word may add to it."""


class ExpansionError(ValueError):
    """The word cannot be expanded. The message is one line."""


def expand(
    word: str, variables: Mapping[str, str], escape: str = "\\", *, keep_quotes: bool = False
) -> str:
    """Replace variables in `word` and remove its quotes and escapes.

    With `keep_quotes`, quotes are ordinary characters, as within a here-document.
    Raises ExpansionError.
    """
    return _Expander(word, variables, escape, keep_quotes).read()


class _Expander:
    """One pass over one word."""

    def __init__(
        self, text: str, variables: Mapping[str, str], escape: str, keep_quotes: bool
    ) -> None:
        self._text = text
        self._variables = variables
        self._escape = escape
        self._keep_quotes = keep_quotes
        self._at = 0
        self._depth = 0
        self._grown = 0

    def read(self, stop: str = "", *, keep_escapes: bool = False) -> str:
        found: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == stop:
                self._at += 1
                return "".join(found)
            if character == "'" and not self._keep_quotes:
                found.append(self._single_quoted())
            elif character == '"' and not self._keep_quotes:
                found.append(self._double_quoted())
            elif character == "$":
                found.append(self._dollar())
            elif character == self._escape:
                start = self._at if keep_escapes else self._at + 1
                found.append(self._text[start : self._at + 2])
                self._at += 2
            else:
                found.append(character)
                self._at += 1
        if stop:
            raise ExpansionError(f"{self._text!r}: a {stop!r} is missing at the end")
        return "".join(found)

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise ExpansionError(f"{self._text!r}: the single quote is never closed")
        start, self._at = self._at + 1, end + 1
        return self._text[start:end]

    def _double_quoted(self) -> str:
        self._at += 1
        found = ""
        while self._at < len(self._text):
            character = self._text[self._at]
            following = self._text[self._at + 1 : self._at + 2]
            if character == '"':
                self._at += 1
                return found
            if character == "$":
                found += self._dollar()
            elif character == self._escape and following in ('"', "$", self._escape):
                found += following
                self._at += 2
            else:
                found += character
                self._at += 1
        raise ExpansionError(f"{self._text!r}: the double quote is never closed")

    def _dollar(self) -> str:
        self._at += 1
        if self._text[self._at : self._at + 1] != "{":
            name = self._name()
            return self._grow(self._variables.get(name, "") if name else "$")
        self._at += 1
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ExpansionError(f"{self._text[:40]!r}…: variables nested too deeply")
        value = self._braced()
        self._depth -= 1
        return self._grow(value)

    def _grow(self, value: str) -> str:
        """Count what variables add: a few lines that double one could fill any memory."""
        self._grown += len(value)
        if self._grown > MAX_EXPANSION:
            raise ExpansionError(f"{self._text[:40]!r}… grows beyond {MAX_EXPANSION >> 20} MiB")
        return value

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()

    def _braced(self) -> str:
        name = self._name()
        if not name:
            raise ExpansionError(f"{self._text!r}: '${{' without the name of a variable")
        value = self._variables.get(name)
        operator = self._next()
        if operator == "}":
            return value or ""
        if operator in ("#", "%"):
            longest = self._text[self._at : self._at + 1] == operator
            self._at += longest
            return _trim(value or "", self._pattern("}"), operator, longest)
        if operator == "/":
            everywhere = self._text[self._at : self._at + 1] == "/"
            self._at += everywhere
            pattern, replacement = self._pattern("/"), self.read("}")
            return _replace(value or "", pattern, replacement, everywhere)
        given = value is not None
        if operator == ":":
            given = bool(value)
            operator = self._next()
        if operator not in ("-", "+", "?"):
            raise ExpansionError(f"{self._text!r}: ${{{name}… has an unknown modifier")
        word = self.read("}")
        if operator == "+":
            return word if given else ""
        if given:
            return value or ""
        if operator == "?":
            raise ExpansionError(f"{name}: {word or 'is not allowed to be unset or empty'}")
        return word

    def _next(self) -> str:
        character = self._text[self._at : self._at + 1]
        if not character:
            raise ExpansionError(f"{self._text!r}: a '}}' is missing at the end")
        self._at += 1
        return character

    def _pattern(self, stop: str) -> list[str]:
        """A shell pattern of `*`, `?` and escapes, each as a regular expression."""
        found = []
        characters = iter(self.read(stop, keep_escapes=True))
        for character in characters:
            if character == self._escape:
                found.append(re.escape(next(characters, character)))
            else:
                found.append(_WILDCARDS.get(character) or re.escape(character))
        return found


def _trim(value: str, pattern: list[str], side: str, longest: bool) -> str:
    """Remove what `pattern` matches at the start ("#") or the end ("%") of `value`."""
    step = -1 if side == "%" else 1
    parts = [_LAZY if part == _WILDCARDS["*"] and not longest else part for part in pattern]
    match = re.match("".join(parts[::step]), value[::step], re.DOTALL)
    return value[::step][match.end() :][::step] if match else value


def _replace(value: str, pattern: list[str], replacement: str, everywhere: bool) -> str:
    expression = re.compile("".join(pattern), re.DOTALL)
    found = ""
    end = 0
    for match in expression.finditer(value):
        if match.start() == match.end():
            continue
        found += value[end : match.start()] + replacement
        end = match.end()
        if not everywhere or len(found) > MAX_EXPANSION:
            break
    return found + value[end:]
