"""`run ./module.wasm`: a file that is no image yet becomes one, once for each content."""

from __future__ import annotations

import os

from wherry.cli.errors import CommandError
from wherry.wasm import sniff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.session import Session

LABEL = "io.wherry.module"
NOT_RUNNABLE = 126


def image_of(session: Session, path: str) -> str:
    """The ID of an image whose entrypoint is this file, built if the engine has none yet.

    Raises:
        CommandError: exit code 126 when the file is not WebAssembly, 127 when it is not there.
    """
    import hashlib

    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise CommandError(f"{path}: no such file", 127) from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", NOT_RUNNABLE) from None
    kind = sniff(content[:4096])
    if kind is None:
        raise CommandError(f"{path}: not a WebAssembly module or component", NOT_RUNNABLE)
    name = os.path.basename(path)
    digest = hashlib.sha256(name.encode(errors="replace") + b"\0" + content).hexdigest()
    query = {"filters": {"label": [f"{LABEL}=sha256:{digest}"]}, "all": True}
    for image in session.client.get("/images/json", query):
        return str(image["Id"])
    return _build(session, name, content, f"sha256:{digest}")


def _build(session: Session, name: str, content: bytes, digest: str) -> str:
    from wherry.client import json
    from wherry.client.context import memory_context

    dockerfile = f"FROM scratch\nCOPY {json.encode(['module', f'/{name}'])}\n"
    dockerfile += f"ENTRYPOINT {json.encode([f'/{name}'])}\n"
    body = memory_context({"Dockerfile": dockerfile.encode(), "module": content})
    query = {"platform": "wasi/wasm", "labels": {LABEL: digest}, "q": True}
    headers = ("Content-Type: application/x-tar",)
    identity = ""
    for line in session.client.request("POST", "/build", query, body, headers).lines():
        if "error" in line:
            raise CommandError(str(line["error"]), 125)
        told = (line.get("aux") or {}).get("ID") or line.get("stream", "")
        identity = str(told).strip() or identity
    if not identity:
        raise CommandError(f"{name}: the engine did not say which image it built", 125)
    return identity
