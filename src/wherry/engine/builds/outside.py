"""What a build gets from other machines, asked for from the build's thread."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wherry.build import BuildError, Fetching, Progress, Repository, WebFile
from wherry.build.masking import masked
from wherry.build.workspace import workspace
from wherry.engine.errors import EngineError, NotFound
from wherry.engine.worker import CHUNK
from wherry.images import Image, ImageNotFound, NoSuchPlatform
from wherry.oci import Platform, Reference, parse_reference

if TYPE_CHECKING:
    from wherry.engine.engine import Engine
    from wherry.engine.images.flow import Event as TransferEvent
    from wherry.engine.images.transfers import Transfers
    from wherry.registry import Cancel, Credentials

T = TypeVar("T")

_GIVEN_UP = "the build was given up"


class Outside:
    """Registries and the web, until the build is given up."""

    def __init__(
        self,
        engine: "Engine",
        logins: "Mapping[str, Credentials]",
        secrets: Mapping[str, bytes],
        folder: Path,
    ) -> None:
        """`logins` are the client's, by registry; so are `secrets`, by id. `folder` is the data
        root's `build`."""
        self._engine = engine
        self._logins = logins
        self._secrets = secrets
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._mutex = threading.Lock()
        self._abandoned = False
        self._asked: set[Future[Any]] = set()
        self._cancels: set[Cancel] = set()

    def image(
        self, name: str, platform: Platform | None, progress: Progress, *, pull: bool
    ) -> Image:
        """The image of that name, from its registry if it is not here or `pull` is said.

        A policy must let it be used, as if it were to run. Raises BuildError, ImageError, and what
        `progress` raises.
        """
        image = self._found(name, platform, progress, pull=pull)
        try:
            self._engine.gate.admit(image, name)
        except EngineError as error:
            raise BuildError(error.message) from None
        return image

    def _found(
        self, name: str, platform: Platform | None, progress: Progress, *, pull: bool
    ) -> Image:
        store = self._engine.store
        other: NoSuchPlatform | None = None
        if not pull:
            try:
                return store.resolve(name, platform)
            except ImageNotFound:
                pass
            except NoSuchPlatform as error:
                other = error
        try:
            self._ask(self._pull(name, platform, progress))
        except EngineError as error:
            if not other:
                raise BuildError(f"{name}: {error.message}") from None
            why = "" if isinstance(error, NotFound) else f"; it cannot be pulled: {error.message}"
            raise BuildError(f"{other}{why}") from None
        return store.resolve(name, platform)

    @contextmanager
    def open_url(self, url: str) -> Iterator[WebFile]:
        """A file of the web. Raises BuildError."""
        transfers = self._ask(self._engine.images.transfers())
        # Only now, for it takes long to import.
        from wherry.registry import Cancel, RegistryError

        cancel = Cancel()
        with self._mutex:
            if self._abandoned:
                raise BuildError(_GIVEN_UP)
            self._cancels.add(cancel)
        try:
            with transfers.open_url(url, cancel) as file:
                yield file
        except RegistryError as error:
            raise BuildError(f"{masked(url)}: {error}") from None
        finally:
            with self._mutex:
                self._cancels.discard(cancel)

    def fetch(self, repository: Repository, write: Callable[[bytes], object]) -> str:
        """Write what is meant of a git repository as a tar; the commit's id. Raises BuildError."""
        from wherry.engine.builds.git import fetch

        with workspace(self._folder / "run") as place, open(place / "tar", "w+b") as archive:
            (place / "git").mkdir()
            commit = self._ask(fetch(repository, self._secrets, place / "git", archive))
            archive.seek(0)
            while chunk := archive.read(CHUNK):
                write(chunk)
        return commit

    async def push(self, reference: Reference) -> "AsyncGenerator[TransferEvent, None]":
        """Send the image of that name to its registry. Raises EngineError."""
        from wherry.engine.images.credentials import credentials_for

        transfers = await self._engine.images.transfers()
        login = credentials_for(self._logins, reference.domain)
        pushing = transfers.pushes.push(reference.familiar_name, reference.tag or "", "", login)
        async with aclosing(pushing) as events:
            async for event in events:
                yield event

    def abandon(self) -> None:
        """End what is under way and begin nothing more."""
        with self._mutex:
            self._abandoned = True
            asked, cancels = [*self._asked], [*self._cancels]
        for future in asked:
            future.cancel()
        for cancel in cancels:
            cancel.cancel()

    def _ask(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What `coroutine` comes to in the loop."""
        with self._mutex:
            if self._abandoned:
                coroutine.close()
                raise BuildError(_GIVEN_UP)
            asked: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._asked.add(asked)
        try:
            return asked.result()
        except CancelledError:
            raise BuildError(_GIVEN_UP) from None
        finally:
            with self._mutex:
                self._asked.discard(asked)

    async def _pull(self, name: str, platform: Platform | None, progress: Progress) -> None:
        from wherry.engine.images.credentials import credentials_for
        from wherry.engine.images.flow import BlobStatus

        transfers: Transfers = await self._engine.images.transfers()
        login = credentials_for(self._logins, parse_reference(name).domain)
        pulling = transfers.pulls.pull(name, str(platform or ""), login, mirrors=self._logins)
        async with aclosing(pulling) as events:
            async for event in events:
                about = f"{event.id} {event.state}" if isinstance(event, BlobStatus) else ""
                progress(Fetching(event, about))
