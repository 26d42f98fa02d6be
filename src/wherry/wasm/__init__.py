"""A WebAssembly module or component as bytes: what it is, what it imports, what it needs.

No engine is involved and nothing is executed or fully validated: that is for the engine that
compiles it. `inspect` reads the sections that answer questions and seeks past code and data, so it
is quick for files of any size, and a hostile file costs little memory.

    kind = sniff(file.read(8))             # "module", "component", "text" or None
    found = inspect(file)                  # raises InvalidWasm
    found.imports_sockets, found.is_command, found.needs
"""

from wherry.wasm._preamble import sniff
from wherry.wasm.errors import InvalidWasm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.wasm._facts import (
        Export,
        FunctionType,
        Import,
        Memory,
        Producer,
        Section,
        WasmFile,
    )
    from wherry.wasm._inspect import inspect

__all__ = [
    "Export",
    "FunctionType",
    "Import",
    "InvalidWasm",
    "Memory",
    "Producer",
    "Section",
    "WasmFile",
    "inspect",
    "sniff",
]


def __getattr__(name: str) -> object:
    # A command line that only sniffs at a file pays for nothing else.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wherry.wasm import _facts, _inspect

    return getattr(_inspect if name == "inspect" else _facts, name)
