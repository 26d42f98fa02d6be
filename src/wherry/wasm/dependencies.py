"""What a file was built from: packages of cargo and modules of Go that it tells of."""

import re
import zlib
from typing import BinaryIO, Literal, NamedTuple

import msgspec

from wherry.wasm.facts import WasmFile
from wherry.wasm.metadata import custom
from wherry.wasm.strings import find

SECTION = ".dep-v0"
"""Of cargo-auditable: JSON, compressed by zlib."""

MAX_COMPRESSED = 1 << 20
MAX_JSON = 16 << 20
MAX_PACKAGES = 10_000

_GO_BEGIN = bytes.fromhex("3077af0c9274080241e1c107e6d618e6")
_GO_END = bytes.fromhex("f932433186182072008242104116d8f2")
"""What Go's linker puts around the text of `runtime/debug.BuildInfo`."""
MAX_GO = 1 << 20
_GO_VERSION = re.compile(r"v[\w.+\-]{1,200}|\(devel\)", re.ASCII)


class Package(NamedTuple):
    """A package that is part of a file. `checksum` is Go's "h1:…", or empty.

    `source` is where cargo had it from: "crates.io", "git", "local", "registry". `depends_on` are
    indexes of other packages of the same file. `is_root` tells what the file itself was built of.
    """

    ecosystem: Literal["cargo", "golang"]
    name: str
    version: str
    source: str = ""
    checksum: str = ""
    depends_on: tuple[int, ...] = ()
    is_root: bool = False
    is_build: bool = False
    """Used while building only, and not part of the file."""


class _CargoPackage(msgspec.Struct):
    name: str
    version: str
    source: str
    kind: str = "runtime"
    dependencies: list[int] = []
    root: bool = False


class _Cargo(msgspec.Struct):
    packages: list[_CargoPackage]


def packages(file: BinaryIO, found: WasmFile) -> list[Package]:
    """The packages that one module or component tells of. Raises OSError.

    What is malformed is no package, and never an error: nothing here is needed to run the file.
    """
    return _of_cargo(file, found) or _of_go(file, found)


def _of_cargo(file: BinaryIO, found: WasmFile) -> list[Package]:
    compressed = custom(file, found, SECTION, MAX_COMPRESSED)
    if compressed is None:
        return []
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(compressed, MAX_JSON)
        if not inflate.eof:
            return []
        told = msgspec.json.decode(text, type=_Cargo).packages
    except (zlib.error, msgspec.DecodeError):
        return []
    if len(told) > MAX_PACKAGES:
        return []
    return [
        Package(
            ecosystem="cargo",
            name=each.name,
            version=each.version,
            source=each.source,
            depends_on=tuple(i for i in each.dependencies if 0 <= i < len(told)),
            is_root=each.root,
            is_build=each.kind == "build",
        )
        for each in told
    ]


def _of_go(file: BinaryIO, found: WasmFile) -> list[Package]:
    if "Go" not in found.languages:
        return []
    text = find(file, found, _GO_BEGIN, MAX_GO)
    if text is None:
        return []
    told, end, _ = text.partition(_GO_END)
    if not end:
        return []
    listed: list[Package] = []
    for line in told.decode(errors="replace").splitlines()[:MAX_PACKAGES]:
        key, *words = line.split("\t")
        if key not in ("mod", "dep", "=>") or len(words) < 2 or not words[0]:
            continue
        name, version, checksum = (*words, "")[:3]
        if not _GO_VERSION.fullmatch(version):
            continue
        package = Package("golang", name, version, checksum=checksum, is_root=key == "mod")
        if key == "=>" and listed:
            listed[-1] = package._replace(is_root=listed[-1].is_root)
        else:
            listed.append(package)
    return listed
