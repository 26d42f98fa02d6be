"""All containers of the engine."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator

from wherry.engine.config import (
    ContainerConfig,
    EndpointConfig,
    HostConfig,
    NetworkingConfig,
    UpdateConfig,
)
from wherry.engine.containers import archive, description, output
from wherry.engine.containers.archive import PathStat
from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.control import Control
from wherry.engine.containers.create import Creator
from wherry.engine.containers.execs import Execs
from wherry.engine.containers.lifecycle import Lifecycle
from wherry.engine.containers.listing import select
from wherry.engine.containers.networking import Connections
from wherry.engine.containers.output import Attachment, Output
from wherry.engine.containers.recovery import recover
from wherry.engine.containers.running import running_task, task_errors
from wherry.engine.containers.stats import Stats, follow_stats
from wherry.engine.containers.stdin import Stdin
from wherry.engine.containers.top import list_processes
from wherry.engine.errors import EngineError, InvalidRequest
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
from wherry.engine.record import NetworkRecord
from wherry.shim.client.log import STDERR, STDOUT, LogReader

_Changes = list[Change]


class Containers:
    """Finds, makes, runs and removes containers. Errors are those of `wherry.engine.errors`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lifecycle = Lifecycle(context)
        self._control = Control(context, self._lifecycle)
        self._connections = Connections(context, self._lifecycle.networking)
        self._creator = Creator(context, self._lifecycle.networking)

    async def recover(self) -> None:
        """Bring back what the last engine knew; once, before anything else."""
        await recover(self._context, self._lifecycle)

    async def close(self) -> None:
        """Let go of all containers; they run on."""
        await self._lifecycle.close()

    @property
    def busy(self) -> bool:
        """Some container runs, or somebody waits for one."""
        return self._lifecycle.busy or any(container.awaited for container in self)

    @property
    def execs(self) -> Execs:
        """Further processes in running containers."""
        return self._lifecycle.execs

    def __iter__(self) -> Iterator[Container]:
        """All containers, in no order."""
        return iter(self._context.index)

    def get(self, reference: str) -> Container:
        """The container of that name, id, or unambiguous beginning of an id. Raises NotFound."""
        return self._context.index.get(reference)

    async def create(
        self,
        config: ContainerConfig,
        host: HostConfig,
        networking: NetworkingConfig | None = None,
        *,
        name: str | None = None,
        platform: str | None = None,
        verify_key: str = "",
    ) -> CreateResult:
        """Make a container; it is not started.

        `verify_key`, base64 of a public key's PEM, must have signed the image.
        """
        networking = networking or NetworkingConfig()
        return await self._creator.create(config, host, networking, name, platform, verify_key)

    async def start(self, container: Container) -> None:
        """Raises NotModified (runs already), StartFailed, NetworkRefused."""
        await self._lifecycle.start(container)

    async def stop(
        self, container: Container, *, grace: int | None = None, signal: str | None = None
    ) -> None:
        """Stop signal, then SIGKILL after `grace` seconds. Raises NotModified."""
        await self._control.stop(container, grace, signal)

    async def restart(
        self, container: Container, *, grace: int | None = None, signal: str | None = None
    ) -> None:
        """Stop if running, then start."""
        await self._control.restart(container, grace, signal)

    async def kill(self, container: Container, signal: str = "SIGKILL") -> None:
        """Send a signal, by name or number. Raises Conflict (is not running)."""
        await self._control.kill(container, signal)

    async def pause(self, container: Container) -> None:
        """Freeze it. Raises Conflict."""
        await self._control.pause(container)

    async def unpause(self, container: Container) -> None:
        """Thaw it. Raises Conflict."""
        await self._control.unpause(container)

    async def remove(
        self, container: Container, *, force: bool = False, volumes: bool = False
    ) -> None:
        """Remove it; a running one only with `force`; its anonymous volumes with `volumes`."""
        await self._control.remove(container, force, volumes)

    async def rename(self, container: Container, name: str) -> None:
        """Give it another name. Raises Conflict."""
        await self._control.rename(container, name)

    async def connect(
        self, container: Container, network: NetworkRecord, asked: EndpointConfig
    ) -> None:
        """Put it into a network, also while it runs."""
        await self._connections.connect(container, network, asked)

    async def disconnect(self, container: Container, network: str) -> None:
        """Take it out of a network, also while it runs, and also if the network has gone."""
        await self._connections.disconnect(container, network)

    async def update(self, container: Container, changes: UpdateConfig) -> UpdateResult:
        """Change limits and the restart policy, of a running container too."""
        return await self._control.update(container, changes)

    def wait(self, container: Container, condition: str = "not-running") -> Awaitable[WaitResult]:
        """Registered with this call (answer the client's headers after it), fulfilled when
        `condition` comes true: "not-running", "next-exit" or "removed". Raises InvalidRequest.
        """
        if condition in ("", "not-running"):
            if container.state.running:
                return container.next_exit()
            done: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
            done.set_result(container.result())
            return done
        if condition == "next-exit":
            return container.next_exit()
        if condition == "removed":
            return container.removal()
        raise InvalidRequest(f'invalid condition: "{condition}"')

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
        context = self._context
        streams = _streams(stdout, stderr)
        log = LogReader(context.log(container))
        if not stream:
            past = output.read_log(log, container, streams, follow=False)
            return Attachment(past, None, container)
        if stdin and container.config.open_stdin and container.stdin is None:
            container.stdin = Stdin(context.bundle(container) / "stdin", container.id)
            if container.task is not None:
                container.stdin.join(container.task)
        context.tell(container, "attach")
        run = container.run
        run_to_come = container.next_run() if run is None else None
        outputs = output.attach(log, run, run_to_come, streams, replay=logs)
        return Attachment(outputs, container.stdin if stdin else None, container)

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
    ) -> AsyncGenerator[Output, None]:
        """What the container wrote. `tail` counts lines; times are seconds since the epoch."""
        return output.read_log(
            LogReader(self._context.log(container)),
            container,
            _streams(stdout, stderr),
            follow=follow,
            tail=tail,
            since=since,
            until=until,
        )

    async def resize(self, container: Container, height: int, width: int) -> None:
        """Tell the terminal its size. Raises Conflict (is not running)."""
        await self._control.resize(container, height, width)

    async def top(self, container: Container, arguments: str = "-ef") -> Top:
        """Its processes. Raises Conflict (is not running)."""
        task = running_task(container)
        with task_errors(f"Cannot list the processes of container {container.id}"):
            pids = await task.pids(container.id)
        commands = {container.state.pid: container.record.args}
        commands |= {exec.pid: exec.args for exec in container.execs.values() if exec.pid}
        # Without a cgroup the shim knows the first only.
        pids += [pid for pid in commands if pid not in pids]
        return list_processes(pids, commands, arguments or "-ef")

    def stats(
        self, container: Container, *, stream: bool = True, one_shot: bool = False
    ) -> AsyncGenerator[Stats, None]:
        """Usage each second until the container goes; once without `stream`."""
        return follow_stats(container, stream=stream, one_shot=one_shot)

    async def changes(self, container: Container) -> _Changes:
        """How its filesystem differs from the image's."""
        return await archive.changes(self._context, container)

    async def stat_path(self, container: Container, path: str) -> PathStat:
        """What is at `path` in the container. Raises NotFound."""
        return await archive.stat_path(self._context, container, path)

    async def get_archive(
        self, container: Container, path: str
    ) -> tuple[PathStat, AsyncGenerator[bytes, None]]:
        """The file or folder at `path` as a tar. Close the iterator (`aclose`). Raises NotFound."""
        return await archive.get_archive(self._context, container, path)

    async def put_archive(
        self,
        container: Container,
        path: str,
        source: AsyncIterator[bytes],
        *,
        no_overwrite_dir_non_dir: bool = False,
    ) -> None:
        """Unpack a tar (plain, gzip or zstd) into the folder at `path`."""
        await archive.put_archive(
            self._context, container, path, source, keep_kinds=no_overwrite_dir_non_dir
        )

    def export(self, container: Container) -> AsyncGenerator[bytes, None]:
        """Its whole filesystem as a tar, without volumes."""
        return archive.export(self._context, container)

    async def prune(self, filters: Filters | None = None) -> PruneReport:
        """Remove all that do not run. Filters: until, label, label!."""
        filters = filters or Filters()
        filters.check(("until", "label", "label!"))
        until = filters.until()
        doomed = [
            container
            for container in self
            if not container.state.running
            and filters.accepts_labels(container.config.labels)
            and not filters.rejects_labels(container.config.labels)
            and (until is None or container.record.created < until.timestamp() * 1e9)
        ]
        deleted, reclaimed = [], 0
        for container in doomed:
            size, _ = await asyncio.to_thread(
                description.sizes, self._context, container, image=False
            )
            try:
                await self.remove(container)
            except EngineError:
                continue  # somebody started or removed it just now
            deleted.append(container.id)
            reclaimed += size
        self._context.events.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
        return PruneReport(containers_deleted=deleted, space_reclaimed=reclaimed)

    async def inspect(self, container: Container, *, size: bool = False) -> ContainerInspect:
        """All that is known of it."""
        if not size:
            return description.inspect(self._context, container)
        found = await asyncio.to_thread(description.sizes, self._context, container)
        return description.inspect(self._context, container, found)

    async def list(
        self,
        *,
        all: bool = False,
        filters: Filters | None = None,
        limit: int = 0,
        size: bool = False,
    ) -> list[ContainerSummary]:
        """Newest first; only running ones unless `all`, `limit` or a filter on status is given."""
        context = self._context
        chosen = select(context, all=all, filters=filters or Filters(), limit=limit)
        names = {
            name: description.image_ids(context, name)
            for name in {container.config.image for container in chosen}
        }
        summaries = []
        for container in chosen:
            image = container.config.image
            if container.image_id not in names[image]:
                image = container.image_id
            found = None
            if size:
                found = await asyncio.to_thread(description.sizes, context, container)
            summaries.append(description.summarise(context, container, image, found))
        return summaries


def _streams(stdout: bool, stderr: bool) -> frozenset[int]:
    return frozenset(stream for stream, wanted in ((STDOUT, stdout), (STDERR, stderr)) if wanted)
