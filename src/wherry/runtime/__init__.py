"""Bundle → sandboxed process → Wasm.

A `Launcher` owns a warm zygote and makes containers by forking it. What runs in the zygote and in
the containers (`zygote`, `container`, `engines`, `sandbox`) is never imported by who launches them.
"""

from wherry.runtime.exits import LaunchError
from wherry.runtime.launcher import CreateRequest, Launcher, Process

__all__ = ["CreateRequest", "LaunchError", "Launcher", "Process"]
