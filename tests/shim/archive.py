"""Images made by hand, as OCI archives that `ctr images import` reads."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Image:
    """An image of one layer with `files`, by path; of `config`, what the runtime is told."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    entrypoint: Sequence[str] = ("/main.wasm",)
    os: str = "wasi"
    architecture: str = "wasm"
    env: Sequence[str] = ("NAME=value",)
    exposed: Sequence[str] = ()


def oci_archive(images: Mapping[str, str | Image]) -> bytes:
    """An archive of one image for each name: `{"localhost/hello:latest": "(module …)"}`."""
    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    manifests = []
    for name, text in images.items():
        image = text if isinstance(text, Image) else Image({"main.wasm": text.encode()})
        layer = _tar(image.files)
        platform = {"os": image.os, "architecture": image.architecture}
        told: dict[str, Any] = {"Entrypoint": list(image.entrypoint), "Env": list(image.env)}
        if image.exposed:
            told["ExposedPorts"] = {port: {} for port in image.exposed}
        config = {
            **platform,
            "config": told,
            "rootfs": {
                "type": "layers",
                "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()],
            },
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(_json(config), "application/vnd.oci.image.config.v1+json"),
            "layers": [blob(layer, "application/vnd.oci.image.layer.v1.tar")],
        }
        found = blob(_json(manifest), "application/vnd.oci.image.manifest.v1+json")
        found["annotations"] = {"io.containerd.image.name": name}
        found["platform"] = platform
        manifests.append(found)
    files["index.json"] = _json({"schemaVersion": 2, "manifests": manifests})
    return _tar(files)


Blob = tuple[bytes, str, Mapping[str, str]]
"""Content, media type, annotations."""


def blobs_archive(name: str, config: Blob, layers: Sequence[Blob]) -> bytes:
    """An archive of one manifest, whatever its config and layers are."""
    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(content: bytes, media_type: str, annotations: Mapping[str, str]) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        files[f"blobs/sha256/{digest}"] = content
        described = {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}
        return described | ({"annotations": dict(annotations)} if annotations else {})

    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": blob(*config),
        "layers": [blob(*layer) for layer in layers],
    }
    entry = blob(_json(manifest), kind, {"io.containerd.image.name": name})
    files["index.json"] = _json({"schemaVersion": 2, "manifests": [entry]})
    return _tar(files)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
