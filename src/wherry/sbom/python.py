"""Python's distributions: the METADATA and RECORD of `*.dist-info` (packaging.python.org)."""

import re
from collections.abc import Iterator
from email.parser import HeaderParser

from wherry.sbom.facts import Files, Package

MAX_METADATA = 4 << 20
MAX_RECORD = 32 << 20

_PLACE = re.compile(r"(?:.*/)?[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)")
_CLASSIFIER = "License :: "
_SEPARATORS = re.compile(r"[-_.]+")


def tells(path: str) -> bool:
    """Whether the file at `path` tells of a distribution."""
    return path.endswith(("METADATA", "PKG-INFO", ".egg-info")) and bool(_PLACE.fullmatch(path))


def read(files: Files, path: str, _: tuple[str, str]) -> Iterator[Package]:
    """The distribution, if its metadata is whole."""
    content = files.read(path, MAX_METADATA)
    if content is None:
        return
    told = HeaderParser().parsestr(content.decode(errors="replace"))
    name, version = _line(told["Name"]), _line(told["Version"])
    if not name or not version:
        return
    yield Package(
        kind="pypi",
        name=_SEPARATORS.sub("-", name).lower(),  # PEP 503, and the purl's own rule
        version=version,
        place=path,
        licenses=_licenses(
            _line(told["License-Expression"]),
            _line(told["License"]),
            [_line(each) for each in told.get_all("Classifier", [])],
        ),
        description=_line(told["Summary"]),
        homepage=_line(told["Home-page"]),
        files=_count(files, path),
    )


def _line(text: object) -> str:
    """A header's value in one line; "UNKNOWN" was once written for what is not told."""
    words = " ".join(str(text or "").split())
    return "" if words == "UNKNOWN" else words[:1000]


def _licenses(expression: str, text: str, classifiers: list[str]) -> tuple[str, ...]:
    """The SPDX expression; else the short text; else the classifiers, by their last words."""
    if expression:
        return (expression,)
    if 0 < len(text) <= 100:
        return (text,)
    found = [each for each in classifiers if each.startswith(_CLASSIFIER)]
    return tuple(dict.fromkeys(each.rpartition(" :: ")[2] for each in found))


def _count(files: Files, path: str) -> int | None:
    """How many files RECORD lists."""
    if not path.endswith("/METADATA"):
        return None
    record = files.read(f"{path.removesuffix('METADATA')}RECORD", MAX_RECORD)
    return None if record is None else sum(1 for line in record.splitlines() if line.strip())
