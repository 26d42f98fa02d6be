"""Bundle → sandboxed process → Wasm.

A `Launcher` owns a warm zygote and makes containers by forking it. What runs in the zygote and in
the containers (`zygote`, `container`, `engines`, `sandbox`) is never imported by who launches them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.runtime.exits import ContainerEnded, LaunchError, NotWasm
    from wherry.runtime.launcher import CreateRequest, ExecRequest, Launcher, Process
    from wherry.runtime.process import ContainerProcess

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


def __getattr__(name: str) -> object:
    # The zygote is in this package too, and what it has loaded every fork of it pays for: asyncio,
    # which the launcher needs, would double its memory.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wherry.runtime import exits, launcher, process

    homes = {"ContainerProcess": process, "LaunchError": exits}
    homes |= dict.fromkeys(("ContainerEnded", "NotWasm"), exits)
    return getattr(homes.get(name, launcher), name)
