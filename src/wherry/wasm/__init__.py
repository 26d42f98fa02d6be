"""A WebAssembly module or component as bytes: what it is, what it imports, what it needs.

No engine is involved and nothing is executed or fully validated: that is for the engine that
compiles it. `inspect` reads the sections that answer questions and seeks past code and data, so it
is quick for files of any size, and a hostile file costs little memory.

    kind = sniff(file.read(8))             # "module", "component", "text" or None
    found = inspect(file)                  # raises InvalidWasm
    found.imports_sockets, found.is_command, found.needs
"""

from wherry.wasm._preamble import DEFERRED_START, sniff
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
    from wherry.wasm._start import defer_start

__all__ = [
    "DEFERRED_START",
    "Export",
    "FunctionType",
    "Import",
    "InvalidWasm",
    "Memory",
    "Producer",
    "Section",
    "WasmFile",
    "defer_start",
    "inspect",
    "sniff",
]


def __getattr__(name: str) -> object:
    # A command line that only sniffs at a file pays for nothing else.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wherry.wasm import _facts, _inspect, _start

    return getattr({"inspect": _inspect, "defer_start": _start}.get(name, _facts), name)
