"""Small additions to a TOML text: comments, order and spelling of all else stay.

Every addition is checked by reading the new text again: it must say what the old one said, and
the addition. Where TOML does not allow that (a table written inline cannot be added to from
outside), `CannotAdd` is raised and the person must do it by hand.
"""

import re
import tomllib
from typing import Any


class InvalidToml(Exception):
    """The text is no TOML; the message says where and why."""


class CannotAdd(Exception):
    """The text is written in a way that leaves no place for the addition."""


def read_toml(content: bytes) -> dict[str, Any]:
    """What a TOML file says. Raises InvalidToml."""
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise InvalidToml(f"no valid TOML (no UTF-8 at byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidToml(f"no valid TOML ({error})") from None
    except RecursionError:
        raise InvalidToml("nested too deeply") from None


def add_block(text: str, block: str, expected: dict[str, Any]) -> tuple[str, str]:
    """The text with tables appended, and what exactly was appended.

    `expected` is what the whole must say then. Raises CannotAdd.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    block = block.replace("\n", newline)
    lead = "" if not text else newline if text.endswith("\n") else newline * 2
    added = lead + block
    return _checked(text + added, expected), added


def add_import(text: str, pattern: str) -> tuple[str, str]:
    """The text with one more of `imports`, and what exactly was inserted. Raises CannotAdd."""
    before = read_toml(text.encode())
    imports = before.get("imports")
    if imports is None:
        newline = "\r\n" if "\r\n" in text else "\n"
        added = f'imports = ["{pattern}"]{newline}'
        position = _first_line_to_follow(text)
    elif isinstance(imports, list):
        position, added = _end_of_imports(text, f'"{pattern}"', first=not imports)
    else:
        raise CannotAdd("imports is no list")
    expected = {**before, "imports": [*(imports or []), pattern]}
    return _checked(text[:position] + added + text[position:], expected), added


def cut(text: str, added: str) -> str | None:
    """The text without an addition; None when it is not there exactly once."""
    if not added or text.count(added) != 1:
        return None
    return text.replace(added, "")


def _checked(text: str, expected: dict[str, Any]) -> str:
    try:
        said = read_toml(text.encode())
    except InvalidToml:
        raise CannotAdd("a table is written inline") from None
    if said != expected:
        raise CannotAdd("it would say something else then")
    return text


_VERSION = re.compile(r"^[ \t]*version[ \t]*=[ \t]*\d+[ \t]*(#[^\n]*)?\r?\n", re.MULTILINE)
_KEY_OR_TABLE = re.compile(r"^[ \t]*[^#\s]", re.MULTILINE)
_IMPORTS = re.compile(r"^[ \t]*imports[ \t]*=[ \t]*\[", re.MULTILINE)
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|[\[\],]|\s+|.',
    re.DOTALL,
)


def _first_line_to_follow(text: str) -> int:
    """Behind `version`, where that comes first, else before the first key or table."""
    first = _KEY_OR_TABLE.search(text)
    if first is None:
        # Comments alone: one without a newline at its end must not swallow the addition.
        return len(text) if not text or text.endswith("\n") else 0
    version = _VERSION.match(text, first.start())
    return version.end() if version else first.start()


def _end_of_imports(text: str, item: str, *, first: bool) -> tuple[int, str]:
    """Where one more import goes, behind the last one, and with what before it."""
    start = _IMPORTS.search(text)
    if start is None:
        raise CannotAdd("imports is written in an unusual way")
    depth, position, last, comma = 1, start.end(), start.end(), False
    while depth and (token := _TOKEN.match(text, position)):
        word = token.group()
        position = token.end()
        if word == "[":
            depth += 1
        elif word == "]":
            depth -= 1
        elif word == ",":
            comma, last = True, position
        elif not word.isspace() and not word.startswith("#"):
            comma, last = False, position
    if first or comma:
        return last, item if first else f" {item}"
    return last, f", {item}"
