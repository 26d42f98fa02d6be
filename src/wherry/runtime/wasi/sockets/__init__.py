"""Sockets for modules of WASI 0.1: the standard's own, and WasmEdge's extension in both its ABIs.

A state machine without an engine: `SocketTable` has the descriptors, the other files have the calls
on them, which take the guest's memory as a view and its arguments as numbers, and answer with error
numbers of WASI. `Sockets` puts them together for one guest.
"""

from wherry.runtime.wasi.sockets.layer import Sockets
from wherry.runtime.wasi.sockets.names import Names
from wherry.runtime.wasi.sockets.table import Egress, SocketTable

__all__ = ["Egress", "Names", "SocketTable", "Sockets"]
