"""Packages of dpkg: `/var/lib/dpkg/status`, and `status.d` of images without dpkg."""

import re
from collections.abc import Iterator

from wherry.sbom.facts import Files, Package

MAX_STATUS = 64 << 20
MAX_COPYRIGHT = 4 << 20

_STATUS = "var/lib/dpkg/status"
_FOLDER = re.compile(r"var/lib/dpkg/status\.d/[^/]+")
_COPYRIGHT = re.compile(r"^License:[ \t]*(\S[^\n]{0,200})$", re.MULTILINE | re.IGNORECASE)


def tells(path: str) -> bool:
    """Whether the file at `path` tells of packages."""
    if not path.startswith(_STATUS):
        return False
    return path == _STATUS or (
        bool(_FOLDER.fullmatch(path)) and not path.endswith((".md5sums", ".list"))
    )


def read(files: Files, path: str, distribution: tuple[str, str]) -> Iterator[Package]:
    """The packages that are installed."""
    content = files.read(path, MAX_STATUS)
    if content is None:
        return
    vendor, release = distribution[0] or "debian", distribution[1]
    for stanza in content.decode(errors="replace").split("\n\n"):
        told = fields(stanza)
        name, version = told.get("Package", ""), told.get("Version", "")
        status = told.get("Status", "install ok installed")
        if not name or not version or not status.endswith(" installed"):
            continue
        source = told.get("Source", "").partition(" ")[0]
        qualifiers = {
            "arch": told.get("Architecture", ""),
            "distro": f"{vendor}-{release}" if release else "",
            "upstream": source if source != name else "",
        }
        yield Package(
            kind="deb",
            namespace=vendor,
            name=name,
            version=version,
            place=path,
            licenses=_licenses(files, name),
            qualifiers=tuple((key, value) for key, value in qualifiers.items() if value),
            description=told.get("Description", ""),
            homepage=told.get("Homepage", ""),
            supplier=told.get("Maintainer", ""),
        )


def fields(stanza: str) -> dict[str, str]:
    """The fields of a stanza (deb822(5)), each by its first line."""
    told: dict[str, str] = {}
    for line in stanza.splitlines():
        if line[:1] not in (" ", "\t", "#"):
            key, colon, value = line.partition(":")
            if colon:
                told[key] = value.strip()[:1000]
    return told


def _licenses(files: Files, name: str) -> tuple[str, ...]:
    """The licences of a copyright file that machines can read (DEP 5); else none."""
    if "/" in name:
        return ()
    content = files.read(f"usr/share/doc/{name}/copyright", MAX_COPYRIGHT)
    if content is None or not content.lstrip().lower().startswith(b"format:"):
        return ()
    text = content.decode(errors="replace")
    return tuple(dict.fromkeys(found.strip() for found in _COPYRIGHT.findall(text)))[:50]
