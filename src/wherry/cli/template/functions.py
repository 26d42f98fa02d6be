"""The functions a template may call: those of Go's text/template, and Docker's."""

from __future__ import annotations

from wherry.cli.template.errors import TemplateError
from wherry.client import json as _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MAX_PADDING = 1 << 16


class _Absent:
    """What `index` finds where nothing is."""

    def __repr__(self) -> str:
        return "<no value>"


ABSENT = _Absent()


def show(value: Any) -> str:
    """A value as Go prints it (`%v`): `true`, `[a b]`, `map[k:v]`, `<no value>`."""
    if isinstance(value, str):
        return value
    if value is None or value is ABSENT:
        return "<no value>"
    return _show_inner(value)


def _show_inner(value: Any) -> str:
    if value is None:
        return "<nil>"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, float):
        return _show_float(value)
    if isinstance(value, dict):
        if hasattr(value, "complete"):
            value = value.complete()
        return "map[" + " ".join(f"{k}:{_show_inner(value[k])}" for k in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(_show_inner, value)) + "]"
    return str(value)


def _show_float(value: float) -> str:
    """Go's `%v` of a float64: the shortest digits, an exponent from 1e21 on."""
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def truth(value: Any) -> bool:
    """Whether a value counts as true: not zero, not empty, not nil."""
    return value is not ABSENT and bool(value)


def to_json(value: Any) -> str:
    """The compact JSON of a value; Go sorts the keys of a map, a document keeps its order."""
    text: str = _json.encode(value.complete() if hasattr(value, "complete") else value)
    return text


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict) and not hasattr(value, "complete"):
            value = value.get(key, _missing_from(value))
        elif isinstance(value, dict):
            value = value[key]
        elif value is None:
            value = ""
        elif isinstance(value, list | tuple | str):
            if isinstance(key, bool) or not isinstance(key, int):
                raise TemplateError(f"can't index a list with {show(key)!r}")
            if not 0 <= key < len(value):
                raise TemplateError(f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise TemplateError(f"can't index {show(value)!r}")
    return value


def _missing_from(value: dict[str, Any]) -> object:
    """Go finds an empty string in a map of strings, as labels are, and nothing in other maps."""
    return "" if all(isinstance(item, str) for item in value.values()) else ABSENT


def _slice(value: Any, *bounds: int) -> Any:
    start = bounds[0] if bounds else 0
    end = bounds[1] if len(bounds) > 1 else len(value)
    if not 0 <= start <= end <= len(value):
        raise TemplateError(f"index out of range: {max(start, end)}")
    return value[start:end]


def _length(value: Any) -> int:
    if value is None:
        return 0
    if not isinstance(value, str | list | tuple | dict):
        raise TemplateError(f"len of {show(value)}")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("missing argument for comparison")
    return any(_kind(first) == _kind(other) and first == other for other in others)


def _kind(value: Any) -> type:
    return float if type(value) in (int, float) else type(value)


def _less(left: Any, right: Any) -> bool:
    if _kind(left) is not _kind(right) or not isinstance(left, int | float | str):
        raise TemplateError("incompatible types for comparison")
    smaller: bool = left < right
    return smaller


def _printf(layout: str, *values: Any) -> str:
    """Go's fmt.Sprintf for the verbs v s d q x X o b c t f g e U and %%, with width and flags."""
    out: list[str] = []
    remaining = list(values)
    position = 0
    while position < len(layout):
        if layout[position] != "%":
            out.append(layout[position])
            position += 1
            continue
        end = position + 1
        while end < len(layout) and layout[end] in "+-# 0123456789.":
            end += 1
        options, verb = layout[position + 1 : end], layout[end : end + 1]
        position = end + 1
        if verb == "%":
            out.append("%")
        elif not verb:
            out.append("%!(NOVERB)")
        elif not remaining:
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_verb(options, verb, remaining.pop(0)))
    return "".join(out)


def _verb(options: str, verb: str, value: Any) -> str:
    width = options.lstrip("+-# 0").partition(".")[0]
    if len(width) > 5:
        return f"%!{verb}(BADWIDTH)"
    try:
        if verb in "sv":
            return f"%{options.replace('+', '').replace('#', '')}s" % _show_inner(value)
        if verb == "q":
            return f"%{options}s" % _json.encode(str(value))
        if verb == "t":
            return f"%{options}s" % _show_inner(bool(value))
        if verb == "b":
            return f"{value:{options}b}"
        if verb == "U":
            return f"U+{value:04X}"
        if verb in "xX" and isinstance(value, str):
            digits = value.encode().hex()
            return f"%{options}s" % (digits.upper() if verb == "X" else digits)
        if verb in "dxXocfFgGeE":
            return str(f"%{options}{verb}" % value)
    except (TypeError, ValueError, OverflowError):
        pass
    return f"%!{verb}({_show_inner(value)})"


def _print(*values: Any) -> str:
    """fmt.Sprint: a space between two operands when neither is a string."""
    out = ""
    for index, value in enumerate(values):
        spaced = index and not isinstance(value, str) and not isinstance(values[index - 1], str)
        out += f"{' ' if spaced else ''}{_show_inner(value)}"
    return out


def _println(*values: Any) -> str:
    return " ".join(map(_show_inner, values)) + "\n"


def _pad(value: str, before: int, after: int) -> str:
    if max(before, after) > MAX_PADDING:
        raise TemplateError(f"cannot pad by {max(before, after)}")
    return f"{' ' * before}{value}{' ' * after}" if value else value


def _title(value: str) -> str:
    """Go's strings.Title: the first letter of each word in upper case, the others as they are."""
    out = []
    inside = False
    for character in value:
        out.append(character if inside else character.upper())
        inside = character.isalnum() or character in "_'"
    return "".join(out)


def _truncate(value: str, length: int) -> str:
    return value[: max(0, length)]


def _join(values: list[str], separator: str) -> str:
    return separator.join(map(show, values or ()))


def _html(*values: Any) -> str:
    text = _print(*values)
    pairs = (("&", "&amp;"), ("'", "&#39;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"))
    for plain, entity in pairs:
        text = text.replace(plain, entity)
    return text


def _urlquery(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_print(*values))


def _js(*values: Any) -> str:
    special = {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    special.update({c: f"\\u{ord(c):04X}" for c in "<>&="})
    return "".join(special.get(character, character) for character in _print(*values))


def _call(function: Any, *arguments: Any) -> Any:
    if not callable(function):
        raise TemplateError("call of what is not a function")
    return function(*arguments)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "and": lambda *values: values[-1],
    "call": _call,
    "eq": _equal,
    "ge": lambda left, right: not _less(left, right),
    "gt": lambda left, right: _less(right, left),
    "html": _html,
    "index": _index,
    "join": _join,
    "js": _js,
    "json": to_json,
    "le": lambda left, right: not _less(right, left),
    "len": _length,
    "lower": lambda value: value.lower(),
    "lt": _less,
    "ne": lambda left, right: not _equal(left, right),
    "not": lambda value: not truth(value),
    "or": lambda *values: values[-1],
    "pad": _pad,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "slice": _slice,
    "split": lambda value, separator: value.split(separator),
    "title": _title,
    "truncate": _truncate,
    "upper": lambda value: value.upper(),
    "urlquery": _urlquery,
}
"""`and` and `or` are listed for their names; the evaluator computes them."""


def _as_it_is(value: Any, *_: Any) -> Any:
    return value


HEADER_FUNCTIONS: Mapping[str, Callable[..., Any]] = dict.fromkeys(
    ("join", "json", "lower", "pad", "split", "title", "truncate", "upper"), _as_it_is
)
"""What the functions do to the headers of a table: nothing, as in Docker."""
