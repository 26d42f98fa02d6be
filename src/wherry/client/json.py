"""JSON by CPython's C scanner alone: importing the `json` package takes longer than a request."""

from __future__ import annotations

from _json import encode_basestring, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class InvalidJSON(ValueError):
    """The text is no JSON document."""


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJSON(f"not JSON: {name}")


class _Context:
    """What `make_scanner` reads its settings from (the fields of `json.JSONDecoder`)."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)


_scan = make_scanner(_Context())  # type: ignore[arg-type]
_SPACE = " \t\r\n"


def decode(source: str | bytes) -> Any:
    """The value of one JSON document. Raises `InvalidJSON`, also for trailing text."""
    try:
        text = source if isinstance(source, str) else source.decode()
        start = len(text) - len(text.lstrip(_SPACE))
        value, end = _scan(text, start)
    except (StopIteration, ValueError, RecursionError, SystemError) as error:
        # SystemError: CPython 3.11's scanner takes its exception from `json`, or has none to raise.
        raise InvalidJSON(f"not JSON: {str(source[:60])!r}") from error
    if text[end:].strip(_SPACE):
        raise InvalidJSON(f"not JSON: {text[end : end + 60]!r} after the document")
    return value


def encode(value: Any) -> str:
    """The compact JSON of dicts, lists, strings, numbers, booleans and None, keys in their order.

    Characters beyond ASCII stay themselves, as Docker prints them.
    """
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, dict):
        members = (f"{encode_basestring(str(key))}:{encode(item)}" for key, item in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(encode, value)) + "]"
    raise TypeError(f"no JSON for {type(value).__name__}")


def indent(text: str, step: str = "    ", prefix: str = "") -> str:
    """A JSON text spread over lines as Go's `json.Indent` does; the values keep their spelling."""
    out: list[str] = []
    depth = 0
    position = 0
    length = len(text)
    while position < length:
        character = text[position]
        if character == '"':
            end = position + 1
            while text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            out.append(text[position : end + 1])
            position = end
        elif character in "{[":
            following = position + 1
            while text[following] in _SPACE:
                following += 1
            if text[following] in "}]":
                out.append(character + text[following])
                position = following
            else:
                depth += 1
                out.append(f"{character}\n{prefix}{step * depth}")
        elif character in "}]":
            depth -= 1
            out.append(f"\n{prefix}{step * depth}{character}")
        elif character == ",":
            out.append(f",\n{prefix}{step * depth}")
        elif character == ":":
            out.append(": ")
        elif character not in _SPACE:
            out.append(character)
        position += 1
    return "".join(out)
