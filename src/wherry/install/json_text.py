"""A member of a JSON object is set or taken away, and no other byte of the text changes."""

import json
import re
from dataclasses import dataclass
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_UNIT = "    "


class InvalidJson(Exception):
    """The text is no JSON object; the message says where and why."""


@dataclass(frozen=True)
class Insertion:
    """How a member came to be, which is what it takes to undo it to the byte."""

    replaced: str | None
    """The text of the value that stood there before, None when there was no such member."""
    existing: int
    """How many of the leading keys named objects that were there already."""
    blank: str
    """What stood between the braces of the object it went into, when that was empty."""


@dataclass(frozen=True)
class _Member:
    name: str
    start: int
    value: int
    end: int


def read_object(text: str) -> dict[str, Any]:
    """The object a text holds. Raises InvalidJson."""
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidJson(f"no valid JSON ({error.msg}, {where})") from None
    except RecursionError:
        raise InvalidJson("nested too deeply") from None
    if not isinstance(value, dict):
        raise InvalidJson("no JSON object")
    return value


def set_member(text: str, keys: tuple[str, ...], value: Any) -> tuple[str, Insertion]:
    """The text with the member at the path `keys` set, and how to undo that.

    Objects on the path are made where they are missing. Raises InvalidJson when the text is none,
    or when something on the path is no object.
    """
    read_object(text)
    start = end = _skip(text, 0)
    for depth, key in enumerate(keys):
        if text[start] != "{":
            raise InvalidJson(f"{'.'.join(keys[:depth])!r} is no object")
        members, close = _members(text, start)
        found = next((member for member in members if member.name == key), None)
        if found is None:
            for parent in reversed(keys[depth + 1 :]):
                value = {parent: value}
            blank = "" if members else text[start + 1 : close]
            changed = _insert(text, start, members, close, key, value)
            return changed, Insertion(None, depth, blank)
        start, end = found.value, found.end
    changed = text[:start] + json.dumps(value) + text[end:]
    return changed, Insertion(text[start:end], len(keys) - 1, "")


def unset_member(text: str, keys: tuple[str, ...], insertion: Insertion) -> str:
    """Undo what `set_member` did; objects made for it go, too, unless they hold more by now.

    The text may have changed elsewhere meanwhile. Where the member is gone nothing is done.
    Raises InvalidJson.
    """
    read_object(text)
    levels: list[tuple[int, list[_Member], int, _Member]] = []
    start = _skip(text, 0)
    for key in keys:
        if text[start] != "{":
            return text
        members, close = _members(text, start)
        found = next((member for member in members if member.name == key), None)
        if found is None:
            return text
        levels.append((start, members, close, found))
        start = found.value
    if insertion.replaced is not None:
        last = levels[-1][3]
        return text[: last.value] + insertion.replaced + text[last.end :]
    depth = len(levels) - 1
    while depth > insertion.existing and len(levels[depth][1]) == 1:
        depth -= 1
    start, members, close, found = levels[depth]
    if len(members) == 1:
        blank = insertion.blank if depth == insertion.existing else ""
        return text[: start + 1] + blank + text[close:]
    index = members.index(found)
    if index:
        return text[: members[index - 1].end] + text[found.end :]
    return text[: found.start] + text[members[1].start :]


def _insert(text: str, start: int, members: list[_Member], close: int, key: str, value: Any) -> str:
    """A new last member, set as its neighbours are."""
    newline = "\r\n" if "\r\n" in text else "\n"
    if members:
        lead = text[start + 1 : members[0].start]
        if "\n" not in lead:
            end = members[-1].end
            return f"{text[:end]}, {json.dumps(key)}: {json.dumps(value)}{text[end:]}"
        indent = lead.rpartition("\n")[2]
        outer = _indent_of(text, start)
        unit = indent[len(outer) :] if indent.startswith(outer) and indent != outer else _UNIT
        end = members[-1].end
        member = _member(key, value, indent, unit, newline)
        return f"{text[:end]},{newline}{indent}{member}{text[end:]}"
    outer = _indent_of(text, start)
    unit = _UNIT if start == _skip(text, 0) or not outer else outer
    indent = outer + unit
    member = _member(key, value, indent, unit, newline)
    return f"{text[: start + 1]}{newline}{indent}{member}{newline}{outer}{text[close:]}"


def _member(key: str, value: Any, indent: str, unit: str, newline: str) -> str:
    lines = json.dumps(value, indent=unit).split("\n")
    return f"{json.dumps(key)}: {f'{newline}{indent}'.join(lines)}"


def _indent_of(text: str, position: int) -> str:
    """The white space at the start of the line."""
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _members(text: str, start: int) -> tuple[list[_Member], int]:
    """The members of the object that opens at `start` of valid JSON, and where it closes."""
    decoder = json.JSONDecoder()
    members = []
    here = _skip(text, start + 1)
    while text[here] != "}":
        name, end = decoder.raw_decode(text, here)
        value = _skip(text, _skip(text, end) + 1)
        _, after = decoder.raw_decode(text, value)
        members.append(_Member(name, here, value, after))
        here = _skip(text, after)
        if text[here] == ",":
            here = _skip(text, here + 1)
    return members, here


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None  # it matches nothing, too
    return match.end()


def _no_constant(name: str) -> Any:
    raise InvalidJson(f"no valid JSON ({name} is no number)")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidJson(f"it has {twice!r} twice")
    return found
