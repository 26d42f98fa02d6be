"""An image with Rust's compiler, as `rust:1` is to people, pushed to a registry of the tests.

It is made of Debian trixie's packages: cargo, the standard libraries for this machine and for WASI,
and a `rustup` that finds its target there already.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import subprocess
from pathlib import Path

from tests import peers
from tests.debian import Suite
from tests.guests.rust_toolchain import PACKAGES
from tests.registries import RealRegistry

from wherry.oci import HOST

_LAYER = "rust-image-2.tar"
_LEFT_OUT = (
    "./var", "./boot", "./home", "./tmp/*", "./proc", "./sys", "./dev", "./run",
    "./usr/share/doc", "./usr/share/locale", "./usr/share/man", "./usr/share/perl",
    "./usr/lib/rustlib/wasm32-unknown-unknown", "./usr/lib/rustlib/wasm32-wasip2",
    "./usr/bin/containerd*", "./usr/bin/ctr", "./usr/bin/docker*", "./usr/bin/rustdoc",
    "./usr/bin/*lto-dump*", "./usr/sbin/*docker*", "./usr/sbin/runc", "./usr/libexec/docker",
    "./usr/lib/gcc/x86_64-linux-gnu/14/lto1", "./usr/libexec/gcc/x86_64-linux-gnu/14/cc1plus",
    "./usr/lib/x86_64-linux-gnu/libasan*", "./usr/lib/x86_64-linux-gnu/libtsan*",
    "./usr/lib/x86_64-linux-gnu/perl*",
)  # fmt: skip
_RUSTUP = """#!/bin/sh
[ "$1 $2" = "target add" ] && [ -d "/usr/lib/rustlib/$3" ] && echo "$3 is up to date"
"""
_ENVIRONMENT = [
    "PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "CARGO_TARGET_WASM32_WASIP1_LINKER=wasm-ld-19",
]


def push_rust(registry: RealRegistry) -> None:
    """Push it as `library/rust:1`. Raises SuiteMissing."""
    layer = peers.CACHE / _LAYER
    if not layer.exists():
        _make(layer)
    with layer.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    config = json.dumps(
        {
            "os": HOST.os,
            "architecture": HOST.architecture,
            "config": {"Env": _ENVIRONMENT},
            "rootfs": {"type": "layers", "diff_ids": [digest]},
        }
    ).encode()
    _push_blob(registry, digest, layer)
    path = registry.folder / "config.json"
    path.write_bytes(config)
    config_digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    _push_blob(registry, config_digest, path)
    media = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{media}.manifest.v1+json",
        "config": {
            "mediaType": f"{media}.config.v1+json",
            "digest": config_digest,
            "size": len(config),
        },
        "layers": [
            {
                "mediaType": f"{media}.layer.v1.tar",
                "digest": digest,
                "size": layer.stat().st_size,
            }
        ],
    }
    _call(
        registry,
        "PUT",
        "/v2/library/rust/manifests/1",
        json.dumps(manifest).encode(),
        {"Content-Type": f"{media}.manifest.v1+json"},
    )


def _make(layer: Path) -> None:
    suite = Suite("trixie", *PACKAGES).root
    fresh = layer.with_suffix(".new")
    extra = layer.with_suffix(".rustup")
    shutil.rmtree(extra, ignore_errors=True)
    rustup = extra / "usr" / "local" / "bin" / "rustup"
    rustup.parent.mkdir(parents=True)
    rustup.write_text(_RUSTUP)
    rustup.chmod(0o755)
    excluded = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    subprocess.run(["tar", "-C", suite, *excluded, "-cf", fresh, "."], check=True)
    subprocess.run(["tar", "-C", extra, "-rf", fresh, "./usr/local/bin/rustup"], check=True)
    shutil.rmtree(extra)
    fresh.rename(layer)


def _push_blob(registry: RealRegistry, digest: str, path: Path) -> None:
    place = _call(registry, "POST", "/v2/library/rust/blobs/uploads/", b"", {})
    separator = "&" if "?" in place else "?"
    with path.open("rb") as file:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(path.stat().st_size),
        }
        _call(registry, "PUT", f"{place}{separator}digest={digest}", file, headers)


def _call(
    registry: RealRegistry, method: str, path: str, body: object, headers: dict[str, str]
) -> str:
    """Send a request that must succeed; the path that its answer refers to."""
    connection = http.client.HTTPConnection(registry.host, registry.port, timeout=120)
    try:
        connection.request(method, path, body, headers)  # type: ignore[arg-type]
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status < 300, (method, path, answer.status, said)
        return (answer.getheader("Location") or "").removeprefix(registry.url)
    finally:
        connection.close()
