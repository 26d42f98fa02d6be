"""The JSON schemas of OCI's image-spec, from the Debian package that has them."""

from __future__ import annotations

import functools
import json
import os
from collections import deque
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry
from referencing.jsonschema import DRAFT4
from tests.conftest import without

PACKAGE = "golang-github-opencontainers-image-spec-dev"
FOLDER = Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")

_OCI = "application/vnd.oci.image."
_KINDS = {
    f"{_OCI}index.v1+json": "image-index",
    f"{_OCI}manifest.v1+json": "image-manifest",
    f"{_OCI}config.v1+json": "config",
}


def validate(kind: str, document: Any) -> None:
    """Raise jsonschema's ValidationError unless `document` is a valid `kind` (of schema files)."""
    _validator(kind).validate(document)


def validate_layout(root: Path) -> set[str]:
    """Validate an OCI image layout and every document that its index leads to.

    Returns the media types that were met. What says nothing in a schema is not looked at.
    """
    validate("image-layout", json.loads((root / "oci-layout").read_bytes()))
    index = json.loads((root / "index.json").read_bytes())
    validate("image-index", index)
    met: set[str] = set()
    pending, seen = deque(index["manifests"]), set()
    while pending:
        descriptor = pending.popleft()
        validate("content-descriptor", descriptor)
        met.add(descriptor["mediaType"])
        kind = _KINDS.get(descriptor["mediaType"])
        path = root / "blobs" / descriptor["digest"].replace(":", "/")
        if kind is None or descriptor["digest"] in seen or not path.exists():
            continue
        seen.add(descriptor["digest"])
        assert os.path.getsize(path) == descriptor["size"]
        document = json.loads(path.read_bytes())
        validate(kind, document)
        if kind != "config":
            pending += document.get("manifests", []) + document.get("layers", [])
            pending += [document["config"]] if "config" in document else []
    return met


@functools.cache
def _validator(kind: str) -> Any:
    if not FOLDER.is_dir():
        without(f"{PACKAGE} is not installed")
    file = FOLDER / f"{kind}-schema.json"
    schema = json.loads((file if file.exists() else FOLDER / f"{kind}.json").read_bytes())
    # They name each other relative to themselves, wherever within a schema: the last part counts.
    registry: Any = Registry(retrieve=_retrieve)  # type: ignore[call-arg]
    return jsonschema.Draft4Validator(
        schema, registry=registry, format_checker=jsonschema.FormatChecker()
    )


def _retrieve(uri: str) -> Any:
    return DRAFT4.create_resource(json.loads((FOLDER / uri.rpartition("/")[2]).read_bytes()))
