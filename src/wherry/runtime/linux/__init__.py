"""Containers whose program is no Wasm: handed whole to runc or crun.

Imported by a shim with its first Linux container. What runs inside is that runtime's affair; here
it is found, called, waited for, and cleaned up after.
"""

from wherry.runtime.linux.installed import NoLinuxRuntime
from wherry.runtime.linux.launcher import LinuxLauncher
from wherry.runtime.linux.options import LinuxOptions
from wherry.runtime.linux.process import LinuxProcess

__all__ = ["LinuxLauncher", "LinuxOptions", "LinuxProcess", "NoLinuxRuntime"]
