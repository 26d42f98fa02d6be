"""The document that tells everything about a file: `wherry inspect --wasm`.

Names are spelled as Docker spells those of its own documents (`{{.Size}}`). Sizes are in bytes.
"""

import msgspec


class ToolInfo(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A language, a tool or a runtime; the version is empty when it is not known."""

    name: str
    version: str


class SectionInfo(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A section: its bytes, where its contents begin, and how many items it has, if it says."""

    name: str
    size: int
    start: int
    items: int | None


class ImportInfo(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """An import. `given` tells whether an engine of wherry's has it, `origin` whose it is else."""

    module: str
    name: str
    kind: str
    type: str
    given: bool
    origin: str


class ImportGroup(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Imports that mean the same to a person."""

    meaning: str
    detail: str
    items: list[ImportInfo]


class ExportInfo(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """An export."""

    name: str
    kind: str


class MemoryInfo(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A memory; limits in pages and in bytes, the maximum null when there is none."""

    minimum: int
    maximum: int | None
    minimum_bytes: int
    maximum_bytes: int | None
    page_size: int
    shared: bool
    is_64: bool = msgspec.field(name="Is64")


class TableInfo(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A table; limits in elements."""

    type: str
    minimum: int
    maximum: int | None


class MetadataInfo(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What people wrote into the file about it."""

    name: str
    authors: str
    description: str
    licenses: str
    source: str
    homepage: str
    revision: str
    version: str


class PackageInfo(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A package that the file says it was built of; `depends_on` are places in the same list."""

    ecosystem: str
    name: str
    version: str
    source: str
    is_root: bool
    is_build: bool
    depends_on: list[int]


class VerdictInfo(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Whether this machine can run the file: `reason` says why not."""

    can: bool
    engine: str
    reason: str


class Anatomy(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Everything about one module or component.

    `path` is where it was found, on this machine or in an image, whose id is `image`; `others` are
    further WebAssembly files of that image.
    """

    kind: str
    is_text: bool = False
    name: str = ""
    size: int
    digest: str = ""
    entry: str
    target: str
    languages: list[ToolInfo]
    tools: list[ToolInfo]
    runtime: ToolInfo | None
    known_by: str
    needs: list[str]
    imports: list[ImportGroup]
    exports: list[ExportInfo]
    memories: list[MemoryInfo]
    tables: list[TableInfo]
    features: list[str]
    features_complete: bool
    """Whether all code was looked at and understood."""
    has_start: bool
    sections: list[SectionInfo]
    metadata: MetadataInfo
    packages: list[PackageInfo]
    verdict: VerdictInfo | None = None
    """Of what is nested in a component there is none: a component runs as a whole."""
    nested: list["Anatomy"]
    path: str = ""
    image: str = ""
    others: list[str] = []
