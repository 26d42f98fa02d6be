"""File patterns: those of COPY and ADD, and those of a .dockerignore file. Pure functions.

`*` and `?` match within one component of a path, `[…]` a class of characters, a backslash takes the
next character literally, and `**` matches any number of components.
"""

import posixpath
import re
from collections.abc import Sequence

import msgspec

from wherry.build.errors import BuildError

_WILD = re.compile(r"(?<!\\)(?:\\\\)*[*?[]")
_CLASS = re.compile(r"\[(\^?)((?:\\.|[^\]\\])+)\]", re.DOTALL)


def is_wild(path: str) -> bool:
    """Whether `path` is a pattern."""
    return _WILD.search(path) is not None


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern to be used with `fullmatch`. Raises BuildError for a malformed one."""
    expression = ""
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if pattern.startswith("**/", at):
            expression += "(?:.*/)?"
            at += 3
        elif pattern.startswith("**", at):
            expression += ".*"
            at += 2
        elif character == "[":
            match = _CLASS.match(pattern, at)
            if match is None:
                raise BuildError(f"the pattern {pattern!r} has a '[' that is never closed")
            members = re.sub(r"(?<!\\)([\[&~|])", r"\\\1", match.group(2))
            expression += f"[{match.group(1)}{members}]"
            at = match.end()
        elif character == "\\":
            expression += re.escape(pattern[at + 1 : at + 2] or "\\")
            at += 2
        else:
            expression += {"*": "[^/]*", "?": "[^/]"}.get(character) or re.escape(character)
            at += 1
    try:
        return re.compile(expression, re.DOTALL)
    except re.error:
        raise BuildError(f"the pattern {pattern!r} is malformed") from None


class _Rule(msgspec.Struct, frozen=True):
    pattern: re.Pattern[str]
    excludes: bool


class IgnoreRules:
    """The rules of a .dockerignore file.

    Walk a tree from its `root`: `child` gives, of a folder's state, that of what is in it.
    """

    State = tuple[bool, ...]

    def __init__(self, text: str) -> None:
        """Raises BuildError for a malformed pattern."""
        self._rules = tuple(_rules(text))
        self.root: IgnoreRules.State = (False,) * len(self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def child(self, parent: State, path: str) -> State:
        """Which rules match `path`, or a folder above it whose state was `parent`."""
        return tuple(
            above or rule.pattern.fullmatch(path) is not None
            for above, rule in zip(parent, self._rules, strict=True)
        )

    def excluded(self, state: State) -> bool:
        """Whether what has this state is left out: the last rule that matches decides."""
        for matches, rule in zip(reversed(state), reversed(self._rules), strict=True):
            if matches:
                return rule.excludes
        return False


def _rules(text: str) -> Sequence[_Rule]:
    found: list[_Rule] = []
    for line in text.splitlines():
        pattern = line.strip()
        if not pattern or line.startswith("#"):
            continue
        excludes = not pattern.startswith("!")
        pattern = pattern.removeprefix("!").strip()
        if not pattern:
            raise BuildError(".dockerignore: '!' needs a pattern after it")
        pattern = posixpath.normpath(pattern).lstrip("/")
        if pattern not in ("", "."):
            found.append(_Rule(compile_pattern(pattern), excludes))
    return found
