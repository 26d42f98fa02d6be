"""Which engine of a machine runs a file, and what is in the way if none does."""

import re
from typing import Literal, NamedTuple

from wherry.wasm import features
from wherry.wasm.facts import PREVIEW1, Import, WasmFile
from wherry.wasm.meaning import THREADS, UNKNOWN, meaning, origin_of

EMBEDDED, COMMAND = "embedded", "wasmtime"

Entry = Literal["command", "http", "reactor", "library", "text"]

SOCKET_SIGNATURES = frozenset(
    {
        *(("sock_open", 3), ("sock_bind", 3), ("sock_listen", 2), ("sock_connect", 3)),
        *(("sock_accept", 2), ("sock_accept", 3), ("sock_shutdown", 2)),
        *(("sock_getlocaladdr", 3), ("sock_getlocaladdr", 4)),
        *(("sock_getpeeraddr", 3), ("sock_getpeeraddr", 4)),
        *(("sock_recv", 6), ("sock_recv_from", 7), ("sock_recv_from", 8)),
        *(("sock_send", 5), ("sock_send_to", 7), ("sock_getaddrinfo", 8)),
        *(("sock_getsockopt", 5), ("sock_setsockopt", 5)),
    }
)
"""Calls on sockets by their names and how many parameters they may have, all of type i32."""

_IN_BOTH = {
    "cli": (
        *("environment", "exit", "stdin", "stdout", "stderr", "terminal-input"),
        *("terminal-output", "terminal-stdin", "terminal-stdout", "terminal-stderr"),
    ),
    "random": ("random", "insecure", "insecure-seed"),
    "filesystem": ("types", "preopens"),
}
_INTERFACES = {
    "0.2": {
        **_IN_BOTH,
        "io": ("error", "poll", "streams"),
        "clocks": ("monotonic-clock", "wall-clock"),
        "sockets": (
            *("network", "instance-network", "ip-name-lookup"),
            *("tcp", "tcp-create-socket", "udp", "udp-create-socket"),
        ),
        "http": ("types", "outgoing-handler"),
    },
    "0.3": {
        **_IN_BOTH,
        "cli": (*_IN_BOTH["cli"], "types"),
        "clocks": ("monotonic-clock", "system-clock", "types"),
        "sockets": ("types", "ip-name-lookup"),
        "http": ("types", "client", "handler"),
    },
}
"""What wasmtime has of WASI 0.2 and 0.3, by package."""

_THREADS = "threads of WASI, which `wasmtime run -S threads` has outside of containers"

_NAME = re.compile(r"wasi:([a-z-]+)/([a-z-]+)@(0\.[23])\.\d+")


class Machine(NamedTuple):
    """What there is to run WebAssembly with, beside the engine that is part of wherry."""

    has_command: bool = False
    """The `wasmtime` command, which serves wasi:http and has WASI 0.3."""


class Verdict(NamedTuple):
    """Whether a machine can run a file.

    `engine` is what it takes: "embedded", "wasmtime" (the command), or empty when nothing of
    wherry's runs it. `missing` are imports that are not given, `features` what no engine here has.
    `reason` says in a few words why not, or is empty when it runs.
    """

    engine: str
    missing: tuple[Import, ...]
    features: tuple[str, ...]
    reason: str

    @property
    def runs(self) -> bool:
        """Whether it runs here and now."""
        return not self.reason


def entry(found: WasmFile) -> Entry:
    """What is run of a file: a command from beginning to end, a handler of HTTP, or nothing."""
    if found.kind == "text":
        return "text"
    if found.is_command:
        return "command"
    if "wasi-http-server" in found.needs:
        return "http"
    names = {item.name for item in found.exports}
    return "reactor" if found.kind == "module" and "_initialize" in names else "library"


def judge(found: WasmFile, used: frozenset[str], machine: Machine) -> Verdict:
    """Tell what runs `found`, whose code uses `used` of what was added to WebAssembly 1.0."""
    lacking = tuple(name for name in features.ALL if name in used & features.NOT_HERE)
    missing = tuple(item for item in found.imports if not is_given(item))
    kind = entry(found)
    takes_command = kind == "http" or "wasi-0.3" in found.needs
    if kind in ("library", "reactor"):
        what = "a reactor, whose functions a host calls" if kind == "reactor" else "a library"
        return Verdict("", missing, lacking, f"it is {what}: there is nothing to run")
    if missing:
        return Verdict("", missing, lacking, _missing(missing))
    if lacking:
        return Verdict("", missing, lacking, f"no engine here has {' and '.join(lacking)}")
    if not takes_command:
        return Verdict(EMBEDDED, (), (), "")
    what = "to serve HTTP" if kind == "http" else "for WASI 0.3"
    lack = f"it takes the wasmtime command {what}: pip install 'wherry[http]'"
    return Verdict(COMMAND, (), (), "" if machine.has_command else lack)


def is_given(item: Import) -> bool:
    """Whether an engine of wherry's has what is imported."""
    if item.module == PREVIEW1:
        if not item.name.startswith("sock_"):
            return item.kind == "function" and meaning(item) != UNKNOWN
        parameters = item.type.parameters if item.type else ()
        return (item.name, len(parameters)) in SOCKET_SIGNATURES and {*parameters} <= {"i32"}
    if item.module or item.kind != "instance":
        return False
    match = _NAME.fullmatch(item.name)
    if match is None:
        return False
    package, interface, version = match.groups()
    return interface in _INTERFACES[version].get(package, ())


def _missing(items: tuple[Import, ...]) -> str:
    first = items[0]
    name = f"{first.module}.{first.name}" if first.module else first.name
    told = _THREADS if meaning(first) == THREADS else origin_of(first)
    about = f" ({told})" if told else ""
    others = f", and {len(items) - 1} more imports" if len(items) > 1 else ""
    return f"no engine here gives {name[:200]}{about}{others}"
