"""An image registry on a node's loopback: just enough of the distribution API to be pulled from."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import tarfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, TypeVar

from tests.debian import Machine
from tests.shim.archive import Image, oci_archive

from wherry.runtime.sandbox import syscalls

T = TypeVar("T")

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def within(machine: Machine, what: Callable[[], T]) -> T:
    """What `what` returns, called in the network of a machine."""

    def enter() -> T:
        namespace = os.open(f"/proc/{machine.init}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(namespace, syscalls.CLONE_NEWNET)  # of this thread, which ends with us
        finally:
            os.close(namespace)
        return what()

    with ThreadPoolExecutor(1) as inside:
        return inside.submit(enter).result()


class Registry:
    """Serves `images`, by repository: tag `latest` is the image, tag `index` an index of it alone.

    `with Registry(machine, images) as registry: registry.name("toolbox", "latest")`
    """

    def __init__(self, machine: Machine, images: Mapping[str, str | Image]) -> None:
        self._blobs: dict[str, tuple[str, bytes]] = {}
        self._tags: dict[tuple[str, str], str] = {}
        with tarfile.open(fileobj=io.BytesIO(oci_archive(images))) as archive:
            for member in archive.getmembers():
                if member.name.startswith("blobs/"):
                    self._add(archive.extractfile(member).read(), "")  # type: ignore[union-attr]
            manifests = json.load(archive.extractfile("index.json"))["manifests"]  # type: ignore[arg-type]
        for found in manifests:
            self._add_image(found.pop("annotations")["io.containerd.image.name"], found)
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        listener = within(machine, lambda: socket.create_server(("127.0.0.1", 0)))
        self._port = listener.getsockname()[1]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener

    def name(self, repository: str, tag: str) -> str:
        """The name of an image, as it is pulled."""
        return f"127.0.0.1:{self._port}/{repository}:{tag}"

    def __enter__(self) -> Registry:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _add(self, content: bytes, media_type: str) -> str:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self._blobs[digest] = (media_type, content)
        return digest

    def _add_image(self, repository: str, manifest: dict[str, Any]) -> None:
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [manifest]}
        content = self._blobs[manifest["digest"]][1]
        self._tags[repository, "latest"] = self._add(content, _MANIFEST)
        self._tags[repository, "index"] = self._add(json.dumps(index).encode(), _INDEX)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0].removeprefix("/v2/")
        repository, _, rest = path.partition("/")
        reference = rest.partition("/")[2]
        digest = self._tags.get((repository, reference), reference)
        if path and digest not in self._blobs:
            request.send_error(404)
            return
        media_type, content = self._blobs.get(digest, ("", b""))
        request.send_response(200)
        request.send_header("Content-Type", media_type or "application/octet-stream")
        request.send_header("Content-Length", str(len(content)))
        if path:
            request.send_header("Docker-Content-Digest", digest)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content)
