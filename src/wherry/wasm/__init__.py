"""A WebAssembly module or component as bytes: what it is, what it imports, what it needs.

No engine is involved and nothing is executed or fully validated: that is for the engine that
compiles it. `inspect` reads the sections that answer questions and seeks past code and data, so it
is quick for files of any size, and a hostile file costs little memory.

    kind = sniff(file.read(8))             # "module", "component", "text" or None
    found = inspect(file)                  # raises InvalidWasm
    found.imports_sockets, found.is_command, found.needs
    dissect(file)                          # reads all of it: what a person may want to know
"""

from wherry.wasm.errors import InvalidWasm
from wherry.wasm.preamble import DEFERRED_START, sniff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.wasm.anatomy import dissect
    from wherry.wasm.document import Anatomy, PackageInfo, ToolInfo
    from wherry.wasm.facts import (
        Export,
        FunctionType,
        Import,
        Memory,
        Producer,
        Section,
        Table,
        WasmFile,
    )
    from wherry.wasm.hosting import Machine
    from wherry.wasm.inspection import inspect
    from wherry.wasm.start import defer_start
    from wherry.wasm.text import to_binary

__all__ = [
    "DEFERRED_START",
    "Anatomy",
    "Export",
    "FunctionType",
    "Import",
    "InvalidWasm",
    "Machine",
    "Memory",
    "PackageInfo",
    "Producer",
    "Section",
    "Table",
    "ToolInfo",
    "WasmFile",
    "defer_start",
    "dissect",
    "inspect",
    "sniff",
    "to_binary",
]


_HOMES = {
    "Anatomy": "document",
    "Machine": "hosting",
    "PackageInfo": "document",
    "ToolInfo": "document",
    "defer_start": "start",
    "dissect": "anatomy",
    "inspect": "inspection",
    "to_binary": "text",
}
"""Where each name is that is not of `facts`."""


def __getattr__(name: str) -> object:
    # A command line that only sniffs at a file pays for nothing else.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'facts')}"), name)
