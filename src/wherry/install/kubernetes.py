"""The files that put wherry into a Kubernetes cluster, for a person to read and to apply.

A DaemonSet copies wherry onto each node and runs `wherry install containerd --root /host` there.
"""

import re
from pathlib import Path

from wherry import __version__
from wherry.install.errors import InstallError

FILES = ("Dockerfile", "node.sh", "wherry.yaml", "example.yaml")
NAMESPACE = "wherry"

_TEMPLATES = Path(__file__).parent / "manifests"
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/@-]{0,254}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def manifests(*, image: str, example: str, namespace: str = NAMESPACE) -> dict[str, str]:
    """The files by their names. Raises InstallError for what can be no name of an image."""
    for name in (image, example):
        if not _IMAGE.fullmatch(name):
            raise InstallError(f"{name!r} is no name of an image")
    if not _LABEL.fullmatch(namespace):
        raise InstallError(f"{namespace!r} is no name of a namespace")
    values = {
        "@IMAGE@": image, "@EXAMPLE@": example, "@NAMESPACE@": namespace, "@VERSION@": __version__,
    }  # fmt: skip
    found = {}
    for name in FILES:
        text = (_TEMPLATES / name).read_text()
        for mark, value in values.items():
            text = text.replace(mark, value)
        found[name] = text
    return found
