"""Packages of apk: `/lib/apk/db/installed`."""

import base64
import binascii
from collections.abc import Iterator

from wherry.sbom.facts import Files, Package

MAX_DATABASE = 64 << 20

_PLACES = frozenset({"lib/apk/db/installed", "usr/lib/apk/db/installed"})


def tells(path: str) -> bool:
    """Whether the file at `path` tells of packages."""
    return path in _PLACES


def read(files: Files, path: str, distribution: tuple[str, str]) -> Iterator[Package]:
    """The packages that are installed."""
    content = files.read(path, MAX_DATABASE)
    if content is None:
        return
    vendor, release = distribution[0] or "alpine", distribution[1]
    for stanza in content.decode(errors="replace").split("\n\n"):
        told: dict[str, str] = {}
        count = 0
        for line in stanza.splitlines():
            key, colon, value = line.partition(":")
            if colon:
                told.setdefault(key, value[:1000])
                count += key == "R"
        if not told.get("P") or not told.get("V"):
            continue
        origin = told.get("o", "")
        qualifiers = {
            "arch": told.get("A", ""),
            "distro": f"{vendor}-{release}" if release else "",
            "upstream": origin if origin != told["P"] else "",
        }
        yield Package(
            kind="apk",
            namespace=vendor,
            name=told["P"],
            version=told["V"],
            place=path,
            licenses=(told["L"],) if told.get("L") else (),
            qualifiers=tuple((key, value) for key, value in qualifiers.items() if value),
            description=told.get("T", ""),
            homepage=told.get("U", ""),
            supplier=told.get("m", ""),
            sha1=_checksum(told.get("C", "")),
            files=count,
        )


def _checksum(text: str) -> str:
    """ "Q1" and the SHA-1 in base64, as apk writes it, in hexadecimal."""
    if not text.startswith("Q1"):
        return ""
    try:
        digest = base64.b64decode(text[2:], validate=True)
    except (binascii.Error, ValueError):
        return ""
    return digest.hex() if len(digest) == 20 else ""
