"""What a Linux program gets that runs in a container of this engine: Docker's sandbox, spelled out.

WebAssembly needs none of it; the shim hands these containers to runc or crun, which carry it out.
"""

from wherry.engine.linux.capabilities import DEFAULT as DEFAULT_CAPABILITIES
from wherry.engine.linux.capabilities import choose_capabilities
from wherry.engine.linux.devices import find_devices
from wherry.engine.linux.init import add_init, find_init
from wherry.engine.linux.platforms import obstacle
from wherry.engine.linux.profile import read_profile
from wherry.engine.linux.sandbox import harden, standard_mounts
from wherry.engine.linux.security import UNCONFINED, Security, read_security

__all__ = [
    "DEFAULT_CAPABILITIES",
    "UNCONFINED",
    "Security",
    "add_init",
    "choose_capabilities",
    "find_devices",
    "find_init",
    "harden",
    "obstacle",
    "read_profile",
    "read_security",
    "standard_mounts",
]
