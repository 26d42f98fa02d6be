"""`--init`: a small program of the host that is process 1, hands signals on, and reaps orphans.

Only one that is linked statically runs in every image.
"""

import shutil

from wherry.engine.errors import InvalidRequest
from wherry.oci import runtime as oci

_PROGRAMS = ("docker-init", "tini-static", "catatonit")
_TARGET = "/sbin/docker-init"


def find_init() -> str:
    """The path of such a program. Raises InvalidRequest."""
    for name in _PROGRAMS:
        if path := shutil.which(name):
            return path
    raise InvalidRequest(f"--init needs {', '.join(_PROGRAMS[:-1])} or {_PROGRAMS[-1]} on the PATH")


def add_init(spec: oci.Spec) -> None:
    """Have the container's program run by one. Raises InvalidRequest."""
    assert spec.process is not None
    spec.process.args = [_TARGET, "--", *(spec.process.args or ())]
    mount = oci.Mount(
        destination=_TARGET, type="bind", source=find_init(), options=["bind", "ro", "rprivate"]
    )
    spec.mounts = [*(spec.mounts or ()), mount]
