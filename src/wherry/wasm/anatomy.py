"""All that can be told of a file without running it, for `wherry inspect --wasm`."""

import hashlib
import io
from typing import BinaryIO

import msgspec

from wherry.wasm import features
from wherry.wasm.dependencies import packages
from wherry.wasm.document import (
    Anatomy,
    ExportInfo,
    ImportGroup,
    ImportInfo,
    MemoryInfo,
    MetadataInfo,
    PackageInfo,
    SectionInfo,
    TableInfo,
    ToolInfo,
    VerdictInfo,
)
from wherry.wasm.facts import FunctionType, Import, WasmFile
from wherry.wasm.hosting import Machine, entry, is_given, judge
from wherry.wasm.inspection import inspect
from wherry.wasm.instructions import look
from wherry.wasm.meaning import ORDER, SOCKETS, UNKNOWN, meaning, origin_of, socket_abi
from wherry.wasm.metadata import Metadata, read_metadata
from wherry.wasm.origin import Marks, Origin, read_origin

MAX_NESTED = 1000
"""Modules and components within a component that are told of."""


def dissect(file: bytes | BinaryIO, machine: Machine | None = None) -> Anatomy:
    """Tell everything about a module, a component, or a text that is one of them.

    Reads all of the file, some 80 MB a second, a few MB of it at a time. `machine` is what a
    verdict is given for. Raises InvalidWasm, and OSError from reading.
    """
    opened = io.BytesIO(file) if isinstance(file, bytes) else file
    digest, size = _digest(opened)
    found = inspect(opened)
    is_text = found.kind == "text"
    if is_text:
        from wherry.wasm.text import MAX_TEXT, to_binary

        opened.seek(0)
        opened = io.BytesIO(to_binary(opened.read(MAX_TEXT + 1)))
        found = inspect(opened)
    anatomy = _tell(opened, found, size, Marks(opened))
    verdict = judge(found, frozenset(anatomy.features), machine or Machine())
    return msgspec.structs.replace(
        anatomy,
        is_text=is_text,
        digest=digest,
        verdict=VerdictInfo(can=verdict.runs, engine=verdict.engine, reason=verdict.reason),
    )


def _tell(file: BinaryIO, found: WasmFile, size: int, marks: Marks) -> Anatomy:
    nested = [
        _tell(file, each, sum(part.size for part in each.sections), marks)
        for each in found.nested[:MAX_NESTED]
    ]
    used, complete = set(found.features), True
    for section in found.sections:
        if found.kind == "module" and section.name == "code":
            code = look(file, section)
            used |= code.features
            complete &= code.is_whole
    for each in nested:
        used.update(each.features)
        complete &= each.features_complete
    origin = read_origin(found, marks)
    return Anatomy(
        kind=found.kind,
        name=found.name,
        size=size,
        entry=entry(found),
        target=target(found),
        languages=[ToolInfo(name=each.name, version=each.version) for each in origin.languages],
        tools=[ToolInfo(name=each.name, version=each.version) for each in origin.tools],
        runtime=_runtime(origin),
        known_by=origin.by,
        needs=sorted(found.needs),
        imports=_groups(found.imports),
        exports=[ExportInfo(name=item.name, kind=item.kind) for item in found.exports],
        memories=[
            MemoryInfo(
                minimum=each.minimum,
                maximum=each.maximum,
                minimum_bytes=each.minimum * each.page_size,
                maximum_bytes=None if each.maximum is None else each.maximum * each.page_size,
                page_size=each.page_size,
                shared=each.shared,
                is_64=each.is_64,
            )
            for each in found.memories
        ],
        tables=[
            TableInfo(type=each.type, minimum=each.minimum, maximum=each.maximum)
            for each in found.tables
        ],
        features=[name for name in features.ALL if name in used],
        features_complete=complete,
        has_start=found.has_start,
        sections=[
            SectionInfo(name=each.name, size=each.size, start=each.start, items=each.items)
            for each in found.sections
        ],
        metadata=_metadata(read_metadata(file, found)),
        packages=[
            PackageInfo(
                ecosystem=each.ecosystem,
                name=each.name,
                version=each.version,
                source=each.source,
                is_root=each.is_root,
                is_build=each.is_build,
                depends_on=list(each.depends_on),
            )
            for each in packages(file, found)
        ],
        nested=nested,
    )


def target(found: WasmFile) -> str:
    """The platform that a file was made for, as people call it: "WASI 0.1", "JavaScript" …"""
    needs = found.needs
    names = [label for need, label in _TARGETS.items() if need in needs]
    origins = {origin_of(item) for item in found.imports if meaning(item) == UNKNOWN}
    if any(origin.startswith("JavaScript") for origin in origins):
        names.append("JavaScript")
    if names:
        return ", ".join(names)
    if any(meaning(item) == UNKNOWN for item in found.imports):
        return "a host of its own"
    return "any host"


_TARGETS = {
    "wasi-0.1": "WASI 0.1",
    "wasi-0.2": "WASI 0.2",
    "wasi-0.3": "WASI 0.3",
    "wasi-threads": "WASI threads",
    "wasmedge-sockets": "WasmEdge sockets",
}


def _groups(imports: tuple[Import, ...]) -> list[ImportGroup]:
    meanings: dict[str, list[Import]] = {}
    for item in imports:
        meanings.setdefault(meaning(item), []).append(item)
    return [
        ImportGroup(
            meaning=each,
            detail=socket_abi(imports) if each == SOCKETS else "",
            items=[
                ImportInfo(
                    module=item.module,
                    name=item.name,
                    kind=item.kind,
                    type=_signature(item.type),
                    given=is_given(item),
                    origin=origin_of(item) if each == UNKNOWN else "",
                )
                for item in meanings[each]
            ],
        )
        for each in ORDER
        if each in meanings
    ]


def _signature(kind: FunctionType | None) -> str:
    """ "(i32, i64) -> i32", or empty."""
    if kind is None:
        return ""
    results = f" -> {', '.join(kind.results)}" if kind.results else ""
    return f"({', '.join(kind.parameters)}){results}"


def _runtime(origin: Origin) -> ToolInfo | None:
    if origin.runtime is None:
        return None
    return ToolInfo(name=origin.runtime.name, version=origin.runtime.version)


def _metadata(said: Metadata) -> MetadataInfo:
    return MetadataInfo(**said._asdict())


def _digest(file: BinaryIO) -> tuple[str, int]:
    file.seek(0)
    hashed, size = hashlib.sha256(), 0
    while data := file.read(1 << 20):
        hashed.update(data)
        size += len(data)
    return f"sha256:{hashed.hexdigest()}", size
