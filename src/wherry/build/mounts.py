"""`RUN --mount=…` as text to a typed mount (Dockerfile reference, "RUN --mount"). Pure functions.

What the values mean once their variables are replaced is `mounting`'s business.
"""

import csv
from collections.abc import Mapping

from wherry.build import syntax
from wherry.build.errors import BuildError

_NAMES = {
    "destination": "target",
    "dst": "target",
    "src": "source",
    "ro": "readonly",
    "rw": "readwrite",
}
_KEYS: Mapping[str, frozenset[str]] = {
    "bind": frozenset({"target", "source", "from", "readonly", "readwrite"}),
    "cache": frozenset(
        {"target", "source", "from", "readonly", "readwrite", "id", "sharing"}
        | {"mode", "uid", "gid"}
    ),
    "secret": frozenset({"target", "id", "required", "mode", "uid", "gid", "env"}),
    "tmpfs": frozenset({"target", "size"}),
}
_SWITCHES = frozenset({"readonly", "readwrite", "required"})
_SHARING = ("shared", "private", "locked")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def parse_mount(text: str) -> syntax.RunMount:
    """The value of a --mount. Raises BuildError without a place."""
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise _error(f"{text!r} cannot be read ({error})") from None
    values: dict[str, str] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        name = name.strip().lower()
        name = _NAMES.get(name, name)
        if name in values:
            raise _error(f"{name} is given twice")
        if not equals and name not in _SWITCHES:
            raise _error(f"{field!r} is not of the form key=value")
        values[name] = value if equals else "true"
    kind = values.pop("type", "bind")
    _check(kind, values)
    switches = {name: _truth(name, values[name]) for name in _SWITCHES & values.keys()}
    if switches.get("readonly") and switches.get("readwrite"):
        raise _error("it cannot be both ro and rw")
    writable = switches.get("readwrite", kind != "bind")
    return syntax.RunMount(
        kind=kind,
        target=values.get("target", ""),
        source=values.get("source", ""),
        origin=values.get("from", ""),
        id=values.get("id", ""),
        sharing=values.get("sharing", "shared"),
        mode=values.get("mode", ""),
        uid=values.get("uid", ""),
        gid=values.get("gid", ""),
        size=values.get("size", ""),
        env=values.get("env", ""),
        read_only=switches.get("readonly", not writable),
        required=switches.get("required", False),
    )


def _check(kind: str, values: Mapping[str, str]) -> None:
    if kind == "ssh":
        raise _error(
            "type=ssh is not supported: hand a key in with --mount=type=secret and "
            "'wherry build --secret'"
        )
    if kind not in _KEYS:
        raise _error(f"type={kind}: known are {', '.join(sorted(_KEYS))}")
    for name in values:
        if name not in _KEYS[kind]:
            known = ", ".join(sorted(_KEYS[kind]))
            raise _error(f"type={kind} takes no {name}; it takes {known}")
    if "from" in values and "$" in values["from"]:
        hint = "name a stage of its own with FROM $VARIABLE AS name"
        raise _error(f"variables cannot be used in from: {hint}")
    if "from" in values and not values["from"]:
        raise _error("from needs a stage or an image")
    if kind == "secret":
        if not values.get("id") and not values.get("target"):
            raise _error("type=secret needs an id or a target")
    elif not values.get("target"):
        raise _error(f"type={kind} needs a target")
    sharing = values.get("sharing", "shared")
    if sharing not in _SHARING:
        raise _error(f"sharing={sharing}: {', '.join(_SHARING)} are known")


def _truth(name: str, text: str) -> bool:
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise _error(f"{name}={text}: true or false is needed") from None


def _error(message: str) -> BuildError:
    return BuildError(f"RUN --mount: {message}")
