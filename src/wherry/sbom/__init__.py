"""What an image or a file is made of, as a bill of materials in CycloneDX.

`survey` reads what package managers have left among files; `wherry.wasm` knows what modules tell of
themselves; `write` makes one document of both. The document is the same for the same content,
whenever and wherever it is written. CycloneDX's own library does the writing, and is imported by
that alone: it takes a tenth of a second.
"""

from wherry.sbom.facts import Files, Layer, Module, Package, Subject
from wherry.sbom.packages import survey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.sbom.document import FORMATS, write

__all__ = ["FORMATS", "Files", "Layer", "Module", "Package", "Subject", "survey", "write"]


def __getattr__(name: str) -> object:
    if name not in ("FORMATS", "write"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wherry.sbom import document

    return getattr(document, name)
