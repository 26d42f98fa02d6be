"""Finding what package managers have left among the files of an image."""

from collections.abc import Iterator

from wherry.sbom import alpine, debian, node, python, ruby
from wherry.sbom.facts import Files, Package

MAX_FILES = 1_000_000
MAX_PACKAGES = 100_000

_READERS = (python, node, ruby, debian, alpine)


def survey(files: Files) -> Iterator[Package]:
    """Every package that is told of, in the order of the files that tell.

    What is malformed is left out: an image is not to be refused for a broken package.
    """
    distribution = _distribution(files)
    left = MAX_PACKAGES
    for number, path in enumerate(files.walk()):
        if number >= MAX_FILES:
            return
        for reader in _READERS:
            if reader.tells(path):
                for package in reader.read(files, path, distribution):
                    yield package
                    left -= 1
                    if not left:
                        return


def _distribution(files: Files) -> tuple[str, str]:
    """ID and VERSION_ID of os-release(5); empty where they are not told."""
    for path in ("etc/os-release", "usr/lib/os-release"):
        content = files.read(path, 1 << 16)
        if content is None:
            continue
        told: dict[str, str] = {}
        for line in content.decode(errors="replace").splitlines():
            key, _, value = line.partition("=")
            told[key.strip()] = value.strip().strip("\"'")
        return told.get("ID", ""), told.get("VERSION_ID", "")
    return "", ""
