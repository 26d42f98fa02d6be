"""All containers of the engine."""

from collections.abc import AsyncIterator, Awaitable

from wherry.engine.config import ContainerConfig, HostConfig, UpdateConfig
from wherry.engine.containers.archive import PathStat
from wherry.engine.containers.container import Container
from wherry.engine.containers.output import Attachment, Output
from wherry.engine.containers.stats import Stats
from wherry.engine.filters import Filters
from wherry.engine.inspection import (
    Change,
    ContainerInspect,
    ContainerSummary,
    CreateResult,
    PruneReport,
    Top,
    UpdateResult,
    WaitResult,
)


class Containers:
    """Finds, makes, runs and removes containers. Errors are those of `wherry.engine.errors`."""

    def get(self, reference: str) -> Container:
        """The container of that name, id, or unambiguous beginning of an id. Raises NotFound."""
        raise NotImplementedError

    async def create(
        self,
        config: ContainerConfig,
        host: HostConfig,
        *,
        name: str | None = None,
        platform: str | None = None,
    ) -> CreateResult:
        """Make a container; it is not started."""
        raise NotImplementedError

    async def start(self, container: Container) -> None:
        """Raises NotModified (runs already), StartFailed."""
        raise NotImplementedError

    async def stop(
        self, container: Container, *, grace: int | None = None, signal: str | None = None
    ) -> None:
        """Stop signal, then SIGKILL after `grace` seconds. Raises NotModified."""
        raise NotImplementedError

    async def restart(
        self, container: Container, *, grace: int | None = None, signal: str | None = None
    ) -> None:
        """Stop if running, then start."""
        raise NotImplementedError

    async def kill(self, container: Container, signal: str = "SIGKILL") -> None:
        """Send a signal, by name or number. Raises Conflict (is not running)."""
        raise NotImplementedError

    async def pause(self, container: Container) -> None:
        """Freeze it. Raises Conflict."""
        raise NotImplementedError

    async def unpause(self, container: Container) -> None:
        """Thaw it. Raises Conflict."""
        raise NotImplementedError

    async def remove(
        self, container: Container, *, force: bool = False, volumes: bool = False
    ) -> None:
        """Remove it; a running one only with `force`; its anonymous volumes with `volumes`."""
        raise NotImplementedError

    async def rename(self, container: Container, name: str) -> None:
        """Give it another name. Raises Conflict."""
        raise NotImplementedError

    async def update(self, container: Container, changes: UpdateConfig) -> UpdateResult:
        """Change limits and the restart policy, of a running container too."""
        raise NotImplementedError

    def wait(self, container: Container, condition: str = "not-running") -> Awaitable[WaitResult]:
        """Registered with this call (answer the client's headers after it), fulfilled when
        `condition` comes true: "not-running", "next-exit" or "removed".
        """
        raise NotImplementedError

    def attach(
        self,
        container: Container,
        *,
        stdin: bool = False,
        stdout: bool = False,
        stderr: bool = False,
        stream: bool = True,
        logs: bool = False,
    ) -> Attachment:
        """Registered with this call: all output from now on is in it, also of a container that is
        started later. With `logs`, what was written so far comes first.
        """
        raise NotImplementedError

    def logs(
        self,
        container: Container,
        *,
        stdout: bool = True,
        stderr: bool = True,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> AsyncIterator[Output]:
        """What the container wrote. `tail` counts lines; times are seconds since the epoch."""
        raise NotImplementedError

    async def resize(self, container: Container, height: int, width: int) -> None:
        """Tell the terminal its size. Raises Conflict (is not running)."""
        raise NotImplementedError

    async def top(self, container: Container, arguments: str = "-ef") -> Top:
        """Its processes. Raises Conflict (is not running)."""
        raise NotImplementedError

    def stats(
        self, container: Container, *, stream: bool = True, one_shot: bool = False
    ) -> AsyncIterator[Stats]:
        """Usage each second until the container goes; once without `stream`."""
        raise NotImplementedError

    async def changes(self, container: Container) -> "list[Change]":
        """How its filesystem differs from the image's."""
        raise NotImplementedError

    async def stat_path(self, container: Container, path: str) -> PathStat:
        """What is at `path` in the container. Raises NotFound."""
        raise NotImplementedError

    async def get_archive(
        self, container: Container, path: str
    ) -> tuple[PathStat, AsyncIterator[bytes]]:
        """The file or folder at `path` as a tar. Close the iterator (`aclose`). Raises NotFound."""
        raise NotImplementedError

    async def put_archive(
        self,
        container: Container,
        path: str,
        source: AsyncIterator[bytes],
        *,
        no_overwrite_dir_non_dir: bool = False,
    ) -> None:
        """Unpack a tar (plain, gzip or zstd) into the folder at `path`."""
        raise NotImplementedError

    def export(self, container: Container) -> AsyncIterator[bytes]:
        """Its whole filesystem as a tar, without volumes."""
        raise NotImplementedError

    async def prune(self, filters: Filters | None = None) -> PruneReport:
        """Remove all that do not run. Filters: until, label, label!."""
        raise NotImplementedError

    async def inspect(self, container: Container, *, size: bool = False) -> ContainerInspect:
        """All that is known of it."""
        raise NotImplementedError

    async def list(
        self,
        *,
        all: bool = False,
        filters: Filters | None = None,
        limit: int = 0,
        size: bool = False,
    ) -> list[ContainerSummary]:
        """Newest first; only running ones unless `all`, `limit` or a filter on status is given."""
        raise NotImplementedError
