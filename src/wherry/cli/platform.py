"""Platforms as a person names them: `wasi/wasm`, `linux/arm64`, `linux/arm/v7`."""

from __future__ import annotations

import os

from wherry.cli.errors import UsageError
from wherry.client import json

PLATFORMS = ("wasi/wasm", "linux/amd64", "linux/arm64")
"""What completion offers; any platform may be asked for."""


def platform_of(asked: str) -> str:
    """The platform a flag asks for, else Docker's variable, else empty."""
    return asked or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")


def document_of(platform: str) -> str:
    """A platform as newer calls of the API take it, OCI's fields as JSON. Raises `UsageError`."""
    if not platform:
        return ""
    names = ("os", "architecture", "variant")
    parts = ["wasi", "wasm"] if platform == "wasm" else platform.split("/")
    if not all(parts) or not 1 < len(parts) <= len(names):
        raise UsageError(
            f'invalid argument "{platform}" for "--platform": write OS/ARCH[/VARIANT]', 125
        )
    return json.encode(dict(zip(names, parts, strict=False)))


def text_of(document: object) -> str:
    """`os/architecture[/variant]` of the API's fields; what is not known is a dash."""
    fields = document if isinstance(document, dict) else {}
    parts = [str(fields.get(name) or "") for name in ("os", "architecture", "variant")]
    known = [part for part in parts if part]
    return "/".join(known) if known and known != ["unknown", "unknown"] else "-"
