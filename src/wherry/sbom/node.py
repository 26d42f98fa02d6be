"""Packages of npm: `node_modules/NAME/package.json`."""

import re
from collections.abc import Iterator

import msgspec

from wherry.sbom.facts import Files, Package

MAX_DOCUMENT = 4 << 20

_PLACE = re.compile(r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/]+/package\.json")


class _Licence(msgspec.Struct):
    type: str = ""


class _Document(msgspec.Struct):
    name: str
    version: str
    license: str | _Licence | None = None
    licenses: list[_Licence] | None = None
    """What it was called before npm 2."""
    description: str | None = None
    homepage: str | None = None


def tells(path: str) -> bool:
    """Whether the file at `path` tells of a package, and not of a part of one."""
    return path.endswith("/package.json") and bool(_PLACE.fullmatch(path))


def read(files: Files, path: str, _: tuple[str, str]) -> Iterator[Package]:
    """The package, if its document is one."""
    content = files.read(path, MAX_DOCUMENT)
    try:
        told = msgspec.json.decode(content or b"", type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    namespace, _slash, name = told.name.rpartition("/")
    if not name or not told.version:
        return
    yield Package(
        kind="npm",
        namespace=namespace,
        name=name,
        version=told.version,
        place=path,
        licenses=_licenses(told),
        description=" ".join((told.description or "").split())[:1000],
        homepage=told.homepage or "",
    )


def _licenses(told: _Document) -> tuple[str, ...]:
    if isinstance(told.license, str):
        return (told.license,) if told.license else ()
    several = [told.license] if told.license else told.licenses or []
    return tuple(each.type for each in several if each.type)
