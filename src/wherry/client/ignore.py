"""`.dockerignore`: which files of a build context stay at home (pure, no I/O)."""

from __future__ import annotations

import posixpath
import re

from wherry.client.errors import ClientError


class InvalidPattern(ClientError):
    """A line of a `.dockerignore` file is no pattern."""


class IgnoreRules:
    """The patterns of a `.dockerignore`, later ones first in rank; `!` takes files back in.

    `*` and `?` stop at a slash, `**` does not, `[a-z]` is a class, `\\` takes the next character
    as it is. A pattern that matches a folder matches all that is in it.
    """

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[re.Pattern[str], bool, str]] = []
        for line in text.removeprefix("\ufeff").splitlines():
            if line.startswith("#") or not line.strip():
                continue
            pattern = line.strip()
            keeps = pattern.startswith("!")
            cleaned = _clean(pattern[1:].strip() if keeps else pattern)
            if not cleaned:
                raise InvalidPattern(f".dockerignore: '{pattern}' names nothing")
            self._rules.append((_compile(cleaned), keeps, cleaned))

    def ignores(self, path: str) -> bool:
        """Whether a path, relative to the context and with slashes, is left out."""
        ignored = False
        parents = path.split("/")
        paths = ["/".join(parents[:count]) for count in range(len(parents), 0, -1)]
        for expression, keeps, _ in self._rules:
            if ignored == keeps and any(map(expression.fullmatch, paths)):
                ignored = not keeps
        return ignored

    def prunes(self, folder: str) -> bool:
        """Whether nothing in a folder that is ignored can be taken back in."""
        for _, keeps, pattern in self._rules:
            literal = re.split(r"[*?\[\\]", pattern, maxsplit=1)[0]
            wild = literal != pattern
            if not keeps:
                continue
            if pattern.startswith(f"{folder}/") or (wild and _may_meet(literal, folder)):
                return False
        return True


def _may_meet(literal: str, folder: str) -> bool:
    """Whether a pattern that starts so can match something beneath the folder."""
    return f"{folder}/".startswith(literal) or literal.startswith(f"{folder}/")


def _clean(pattern: str) -> str:
    if not pattern:
        return ""
    return posixpath.normpath(pattern).lstrip("/") or "."


def _compile(pattern: str) -> re.Pattern[str]:
    out: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            if not pattern.startswith("*", position):
                out.append("[^/]*")
                continue
            position += 1
            if pattern.startswith("/", position):
                position += 1
            out.append(".*" if position >= len(pattern) else "(?:.*/)?")
        elif character == "?":
            out.append("[^/]")
        elif character == "[":
            end = pattern.find("]", position + 1)
            if end < 0:
                raise InvalidPattern(f".dockerignore: '{pattern}' has a '[' that is not closed")
            inside = pattern[position:end].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"[{inside}]")
            position = end + 1
        elif character == "\\" and position < len(pattern):
            out.append(re.escape(pattern[position]))
            position += 1
        else:
            out.append(re.escape(character))
    try:
        return re.compile("".join(out), re.DOTALL)
    except re.error:
        raise InvalidPattern(f".dockerignore: '{pattern}' is not a pattern") from None
