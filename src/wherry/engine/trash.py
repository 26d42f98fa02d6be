"""Where folders go that nobody needs any more: renamed at once, deleted beside the loop."""

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path
from secrets import token_hex


class Trash:
    """A folder that empties itself. What a kill leaves in it goes at the next start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def discard(self, path: Path) -> None:
        """Put a folder of the same filesystem in the trash. A missing one is no error."""
        with suppress(FileNotFoundError):
            path.rename(self._path / token_hex(8))
        self.empty()

    def empty(self) -> None:
        """Delete, in a thread, all that lies in it."""
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._empty())

    async def _empty(self) -> None:
        while self._wake.is_set():
            self._wake.clear()
            await asyncio.to_thread(self._delete)

    def _delete(self) -> None:
        for item in list(self._path.iterdir()):
            # Whatever cannot be deleted now is tried again at the next start.
            shutil.rmtree(item, ignore_errors=True)

    async def close(self) -> None:
        """Wait until it is empty."""
        if self._task is not None:
            await self._task
