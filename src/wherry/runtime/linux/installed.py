"""Which Linux runtime there is."""

import shutil

from wherry import linux_runtime
from wherry.oci import runtime as spec
from wherry.runtime.exits import NOT_RUNNABLE, LaunchError

ANNOTATION = "io.wherry.runtime.linux"
"""Annotation: which of `KNOWN` runs this container, if it is no Wasm."""

KNOWN = linux_runtime.KNOWN
"""Whoever may annotate a container must not name any other program of the host by it: the owner of
the host does that, in containerd's configuration (BinaryName).
"""


class NoLinuxRuntime(LaunchError):
    """There is none to hand a Linux program to."""

    def __init__(self, message: str) -> None:
        super().__init__(message, NOT_RUNNABLE)


def find_runtime(config: spec.Spec, configured: str) -> str:
    """The path of the runtime for a bundle; `configured` is a name or path, or empty.

    Raises NoLinuxRuntime.
    """
    asked = (config.annotations or {}).get(ANNOTATION)
    if asked is not None and asked not in KNOWN:
        names = " or ".join(KNOWN)
        raise NoLinuxRuntime(f"annotation {ANNOTATION}: expected {names}, not {asked[:40]!r}")
    wanted = asked or configured
    path = shutil.which(wanted) if wanted else linux_runtime.find()
    if path is not None:
        return path
    if wanted:
        raise NoLinuxRuntime(f"the Linux runtime {wanted} is not installed")
    raise NoLinuxRuntime(f"no runtime for Linux programs is installed: {linux_runtime.HINT}")
