"""What a build gets from other machines, asked for from the build's thread."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from wherry.build import BuildError, WebFile
from wherry.images import Image
from wherry.oci import Platform

if TYPE_CHECKING:
    from wherry.engine.engine import Engine


class Outside:
    """Registries and the web, until the build is given up."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def image(self, name: str, platform: Platform | None, *, pull: bool) -> Image:
        """The image of that name. Raises ImageError."""
        return self._engine.store.resolve(name, platform)

    def open_url(self, url: str) -> AbstractContextManager[WebFile]:
        """A file of the web. Raises BuildError."""
        raise BuildError(f"ADD {url}: this build has no network")

    def abandon(self) -> None:
        """End what is under way and begin nothing more."""
