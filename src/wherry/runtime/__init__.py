"""Bundle → sandboxed process → Wasm.

A `Launcher` owns a warm zygote and makes containers by forking it. What runs in the zygote and in
the containers (`zygote`, `container`, `engines`, `sandbox`) is never imported by who launches them.
"""

from importlib import import_module

TYPE_CHECKING = False  # as type checkers know it: `typing` is a third of a short command's time

if TYPE_CHECKING:
    from wherry.runtime.exits import ContainerEnded, LaunchError, NotWasm
    from wherry.runtime.guest_process import Process
    from wherry.runtime.launcher import Launcher
    from wherry.runtime.process import ContainerProcess
    from wherry.runtime.requests import CreateRequest, ExecRequest

__all__ = [
    "ContainerEnded",
    "ContainerProcess",
    "CreateRequest",
    "ExecRequest",
    "LaunchError",
    "Launcher",
    "NotWasm",
    "Process",
]

_HOMES = {
    "ContainerEnded": "exits",
    "ContainerProcess": "process",
    "CreateRequest": "requests",
    "ExecRequest": "requests",
    "LaunchError": "exits",
    "Launcher": "launcher",
    "NotWasm": "exits",
    "Process": "guest_process",
}


def __getattr__(name: str) -> object:
    # The zygote is in this package too, and what it has loaded every fork of it pays for: asyncio,
    # which the launcher needs, would double its memory.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
