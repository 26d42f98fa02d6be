"""What the engine's tests cook with: an image of small guests, and short ways to say things."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from wasmtime import wat2wasm

from wherry.engine import Engine
from wherry.engine.config import ContainerConfig, HostConfig
from wherry.engine.containers import Container
from wherry.images import Image, ImageStore, LayerWriter
from wherry.oci import WASM, ImageConfig, Platform, RootFS, RuntimeConfig, parse_reference

GUESTS = Path(__file__).parent.parent / "guests"
NAMES = ("echo", "environ", "exit", "grow", "loop", "trap", "wait")

BIN = Path(sys.executable).parent
"""Where the shim's programs are."""


def environment(root: Path, run: Path) -> dict[str, str]:
    """What a process needs to use an engine of its own."""
    path = f"{BIN}:{os.environ.get('PATH', os.defpath)}"
    return {"WHERRY_ROOT": str(root), "WHERRY_RUN": str(run), "PATH": path}


def make_image(
    store: ImageStore,
    name: str = "guests",
    files: Mapping[str, bytes | str | None] | None = None,
    *,
    platform: Platform = WASM,
    config: RuntimeConfig | None = None,
    compression: Literal["gzip", "zstd"] = "gzip",
) -> Image:
    """An image with the test guests at `/NAME.wasm`, and `files` (None is a folder)."""
    with store.hold():
        with LayerWriter(store.blobs, compression=compression) as writer:
            for guest in NAMES:
                content = wat2wasm((GUESTS / f"{guest}.wat").read_text())
                writer.add_file(f"{guest}.wasm", bytes(content), mode=0o755)
            for path, content in (files or {}).items():
                if content is None:
                    writer.add_directory(path)
                elif isinstance(content, str):
                    writer.add_symlink(path, content)
                else:
                    mode = 0o755 if path.startswith("bin/") else 0o644
                    writer.add_file(path, content, mode=mode)
            layer = writer.commit()
        return store.write_image(
            ImageConfig(
                architecture=platform.architecture,
                os=platform.os,
                rootfs=RootFS(diff_ids=[layer.diff_id]),
                config=config or RuntimeConfig(cmd=["/echo.wasm"]),
            ),
            [layer.descriptor],
            reference=parse_reference(name),
        )


async def make(
    engine: Engine,
    *args: str,
    name: str | None = None,
    image: str = "guests",
    host: HostConfig | None = None,
    config: ContainerConfig | None = None,
) -> Container:
    """A container of `image` that runs `args`."""
    config = config or ContainerConfig()
    config.image = image
    config.cmd = list(args) or config.cmd
    result = await engine.containers.create(config, host or HostConfig(), name=name)
    return engine.containers.get(result.id)


async def run(engine: Engine, container: Container, stdin: bytes | None = None) -> tuple[int, str]:
    """Attach, start, wait: the exit code and all output."""
    attachment = engine.containers.attach(
        container, stdin=stdin is not None, stdout=True, stderr=True
    )
    ending = engine.containers.wait(container, "next-exit")
    await engine.containers.start(container)
    if stdin is not None:
        await attachment.write(stdin)
        await attachment.close_stdin()
    output = b"".join([data async for _, _, data in attachment])
    await attachment.close()
    return (await ending).status_code, output.decode()


async def logged(engine: Engine, container: Container, **options: object) -> str:
    """What is in its log."""
    pieces = [data async for _, _, data in engine.containers.logs(container, **options)]  # type: ignore[arg-type]
    return b"".join(pieces).decode()


def interactive(*args: str, tty: bool = False, once: bool = True) -> ContainerConfig:
    """A container with an open stdin."""
    return ContainerConfig(
        image="guests", cmd=list(args), open_stdin=True, stdin_once=once, tty=tty
    )
