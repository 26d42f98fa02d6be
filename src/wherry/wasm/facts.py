"""What is known of a Wasm file without an engine."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

PREVIEW1 = "wasi_snapshot_preview1"

WASMEDGE_SOCKETS = frozenset(
    {
        "sock_open",
        "sock_bind",
        "sock_listen",
        "sock_connect",
        "sock_recv_from",
        "sock_send_to",
        "sock_getlocaladdr",
        "sock_getpeeraddr",
        "sock_setsockopt",
        "sock_getsockopt",
        "sock_getaddrinfo",
    }
)
"""WasmEdge's additions. WASI 0.1 itself has sock_accept, sock_recv, sock_send and sock_shutdown,
which make no socket: interpreters import them without ever being given one."""


class FunctionType(NamedTuple):
    """A signature, with types as the text format names them: ("i32", "i64"), ("i32",)."""

    parameters: tuple[str, ...]
    results: tuple[str, ...]


class Import(NamedTuple):
    """Something a file needs from outside.

    Of a module, `module` and `name` are the two parts; of a component `module` is empty and `name`
    has it all ("wasi:cli/stdout@0.2.0"). `kind` is "function", "table", "memory", "global" or
    "tag"; of a component "module", "function", "value", "type", "component" or "instance". `type`
    is known for a module's functions.
    """

    module: str
    name: str
    kind: str
    type: FunctionType | None = None


class Export(NamedTuple):
    """Something a file offers; kinds as in `Import`."""

    name: str
    kind: str


class Memory(NamedTuple):
    """A linear memory, defined or imported. `minimum` and `maximum` are in pages of `page_size`."""

    minimum: int
    maximum: int | None
    shared: bool
    is_64: bool
    page_size: int = 65536


class Table(NamedTuple):
    """A table, defined or imported: what it holds ("funcref"), and its limits in elements."""

    type: str
    minimum: int
    maximum: int | None
    is_64: bool


class Section(NamedTuple):
    """A section: `name` as the spec has it ("code", "custom producers"), `size` in bytes.

    `start` is where its contents begin, in bytes from the beginning of the file. `items` is how
    many it says it has, where it has any.
    """

    name: str
    size: int
    start: int = 0
    items: int | None = None


class Producer(NamedTuple):
    """One line of the `producers` section: ("language", "Rust", "2021")."""

    field: str
    name: str
    version: str


class WasmFile(NamedTuple):
    """A module, a component, or a text that is one of them (of which nothing else is known)."""

    kind: Literal["module", "component", "text"]
    imports: tuple[Import, ...] = ()
    exports: tuple[Export, ...] = ()
    memories: tuple[Memory, ...] = ()
    tables: tuple[Table, ...] = ()
    has_start: bool = False
    sections: tuple[Section, ...] = ()
    producers: tuple[Producer, ...] = ()
    name: str = ""
    """As the `name` or `component-name` section gives it."""
    nested: tuple["WasmFile", ...] = ()
    """The modules and components inside a component, in order."""
    features: frozenset[str] = frozenset()
    """Names of what was added to WebAssembly 1.0 that its types, memories and tables show. What
    only its code shows is not looked for here; see `dissect`."""

    @property
    def is_command(self) -> bool:
        """Whether it has a beginning and an end: `_start`, or an export of `wasi:cli/run`."""
        if self.kind == "component":
            return any(_interface(export.name) == "wasi:cli/run" for export in self.exports)
        return Export("_start", "function") in self.exports

    @property
    def world(self) -> Literal["command", "http"]:
        """What it is made for: to answer requests by wasi:http, or else to be run once."""
        return "http" if "wasi-http-server" in self.needs else "command"

    @property
    def imports_files(self) -> bool:
        """Whether it asks for a file system: one of WASI 0.2 or later, or all of WASI 0.1."""
        interfaces = (_interface(item.name) for item in self.imports if not item.module)
        return "wasi-0.1" in self.needs or any(
            name.startswith("wasi:filesystem/") for name in interfaces
        )

    @property
    def imports_sockets(self) -> bool:
        """Whether it asks for the network: sockets of WASI or WasmEdge, or outgoing HTTP."""
        return not self.needs.isdisjoint({"wasi-sockets", "wasmedge-sockets", "wasi-http-client"})

    @property
    def languages(self) -> frozenset[str]:
        """The source languages its producers name, those of nested modules too."""
        return frozenset(
            producer.name
            for file in self.walk()
            for producer in file.producers
            if producer.field == "language"
        )

    @property
    def needs(self) -> frozenset[str]:
        """What a host must have to run it.

        Any of "wasi-0.1", "wasi-0.2", "wasi-0.3", "wasi-threads", "wasi-sockets",
        "wasi-http-client", "wasi-http-server", "wasmedge-sockets".
        """
        needs = set()
        for item in self.imports:
            if item.module == PREVIEW1:
                needs.add("wasi-0.1")
                if item.name in WASMEDGE_SOCKETS:
                    needs.add("wasmedge-sockets")
            elif (item.module, item.name) == ("wasi", "thread-spawn"):
                needs.add("wasi-threads")
        if self.kind == "component":
            needs |= self._component_needs()
        return frozenset(needs)

    def walk(self) -> Iterator["WasmFile"]:
        """Yield this file, then all nested ones, depth first."""
        yield self
        for file in self.nested:
            yield from file.walk()

    def _component_needs(self) -> set[str]:
        needs: set[str] = set()
        imported = [item.name for item in self.imports]
        for name in imported + [item.name for item in self.exports]:
            if name.startswith("wasi:"):
                version = name.rpartition("@")[2]
                needs.update(f"wasi-{v}" for v in ("0.2", "0.3") if version.startswith(v))
        for name in map(_interface, imported):
            if name.startswith("wasi:sockets/"):
                needs.add("wasi-sockets")
            elif name in ("wasi:http/outgoing-handler", "wasi:http/client"):
                needs.add("wasi-http-client")
        for item in self.exports:
            if _interface(item.name) in ("wasi:http/incoming-handler", "wasi:http/handler"):
                needs.add("wasi-http-server")
        return needs


def _interface(name: str) -> str:
    """Return "wasi:cli/run" of "wasi:cli/run@0.2.3"."""
    return name.partition("@")[0]
