"""Reading a bundle."""

import os

from wherry.oci import document
from wherry.oci import runtime as spec
from wherry.runtime.exits import LaunchError

MAX_CONFIG = 16 << 20
"""Bytes of a bundle's config.json."""


def read_config(bundle: str) -> spec.Spec:
    """Read a bundle's config.json. Raises LaunchError."""
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "rb") as file:
            # Asked for the largest size, Python would make room for it first.
            content = file.read(min(os.fstat(file.fileno()).st_size, MAX_CONFIG) + 1)
        return document.decode(content, spec.Spec, path, MAX_CONFIG)
    except OSError as error:
        raise LaunchError(f"cannot read {path}: {error.strerror}") from None
    except document.InvalidDocument as error:
        raise LaunchError(str(error)) from None
