"""Gems: the specifications that RubyGems writes when it installs one.

They are Ruby programs, always written in one way; they are read by that, and not run.
"""

import re
from collections.abc import Iterator

from wherry.sbom.facts import Files, Package

MAX_SPECIFICATION = 1 << 20

_PLACE = re.compile(r"(?:.*/)?specifications/(?:default/)?[^/]+\.gemspec")
# Blanks are bounded, and no line ends: else a file of nothing else took hours.
_B = r"[ \t]{0,20}"
_STRING = r"""["']([^"'\n]{1,500})["'](?:\.freeze)?"""
_NAME = re.compile(rf"^{_B}s\.name{_B}={_B}{_STRING}", re.MULTILINE)
_VERSION = re.compile(
    rf"^{_B}s\.version{_B}={_B}(?:Gem::Version\.new{_B}\(?{_B})?{_STRING}", re.MULTILINE
)
_LICENSES = re.compile(rf"^{_B}s\.licenses{_B}={_B}\[([^\]\n]{{1,500}})\]", re.MULTILINE)
_SUMMARY = re.compile(rf"^{_B}s\.summary{_B}={_B}{_STRING}", re.MULTILINE)
_HOMEPAGE = re.compile(rf"^{_B}s\.homepage{_B}={_B}{_STRING}", re.MULTILINE)
_ONE = re.compile(_STRING)


def tells(path: str) -> bool:
    """Whether the file at `path` tells of a gem."""
    return path.endswith(".gemspec") and bool(_PLACE.fullmatch(path))


def read(files: Files, path: str, _: tuple[str, str]) -> Iterator[Package]:
    """The gem, if its specification is written as RubyGems writes them."""
    content = files.read(path, MAX_SPECIFICATION)
    if content is None:
        return
    text = content.decode(errors="replace")
    name, version = _NAME.search(text), _VERSION.search(text)
    if name is None or version is None:
        return
    licenses = _LICENSES.search(text)
    summary, homepage = _SUMMARY.search(text), _HOMEPAGE.search(text)
    yield Package(
        kind="gem",
        name=name[1],
        version=version[1],
        place=path,
        licenses=tuple(_ONE.findall(licenses[1])) if licenses else (),
        description=summary[1] if summary else "",
        homepage=homepage[1] if homepage else "",
    )
