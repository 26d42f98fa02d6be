"""Compiling programs of new images before anybody runs them, in the background."""

import asyncio
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from wherry.images import Image, ImageError, ImageStore
from wherry.interpreter import command

_NICENESS = 10
_PATIENCE = 600.0
_WAITING = 64


class Precompiler:
    """Compiles one image's program after the other, in a process of its own at low priority.

    Nobody waits for it and nobody is told when it fails: a program that was not compiled is when
    it is first run, and what is wrong with it is said then.
    """

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._waiting: dict[str, Image] = {}
        self._unpacking: tuple[str, asyncio.Future[list[Path]]] | None = None
        self._worker: asyncio.Task[None] | None = None

    def add(self, image: Image) -> None:
        """Compile the program of `image` when its turn comes."""
        if not image.platform.is_wasm or len(self._waiting) >= _WAITING:
            return
        self._waiting[image.id] = image
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    async def let_go(self, id: str) -> None:
        """Have nothing to do with an image any more, so that it can be removed."""
        self._waiting.pop(id, None)
        if self._unpacking and self._unpacking[0] == id:
            await asyncio.wait([self._unpacking[1]])

    async def close(self) -> None:
        """Give up what is not done."""
        if self._worker:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting:
            image = self._waiting.pop(next(iter(self._waiting)))
            with suppress(ImageError, OSError):
                layers = await self._unpack(image)
                program = find_program(image, layers)
                # An image for Wasm may as well hold nothing but data, as those of a first stage do.
                modules = self._store.modules(image)
                if program and modules:
                    await _compile(program)
                    # The image may have been removed meanwhile, and with it what it had by then.
                    await asyncio.to_thread(self._store.forget_code, modules)

    async def _unpack(self, image: Image) -> list[Path]:
        # Not to be cancelled: a thread goes on, and the image is held until it is done.
        unpacking = asyncio.ensure_future(asyncio.to_thread(self._store.lowerdirs, image))
        self._unpacking = (image.id, unpacking)
        try:
            return await asyncio.shield(unpacking)
        finally:
            self._unpacking = None


def find_program(image: Image, layers: Sequence[Path]) -> Path | None:
    """The file that a container of `image` runs, in its layers (topmost first).

    Links are not followed, neither in the path nor at its end: a link of a hostile image must not
    lead anywhere else.
    """
    config = image.config.config
    words = (config.entrypoint or config.cmd or []) if config else []
    if not words or config is None:
        return None
    path = os.path.normpath(os.path.join("/", config.working_dir, words[0])).lstrip("/")
    for layer in layers:
        found = _status(layer, path)
        if found is not None:
            return layer / path if stat.S_ISREG(found.st_mode) else None
    return None


def _status(layer: Path, path: str) -> os.stat_result | None:
    """What the layer has at `path`; a link on the way there ends the search with an OSError."""
    folder = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    *parents, name = path.split("/")
    try:
        for part in parents:
            inner = os.open(
                part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
            )
            os.close(folder)
            folder = inner
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    finally:
        os.close(folder)


async def _compile(program: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *command("wherry.runtime.command", "precompile", str(program)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
        async with asyncio.timeout(_PATIENCE):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
