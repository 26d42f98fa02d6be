"""One build under way: the builder in a thread of its own, and its events in the loop.

Imported with the first build, since the builder is much code that most commands do not need.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

from wherry.build import (
    BuildError,
    BuildOptions,
    Built,
    Context,
    Event,
    Fetching,
    Network,
    StepFinished,
    StepOutput,
    StepStarted,
    Tagged,
    TriggersFound,
    Warned,
    build,
)
from wherry.engine.artifacts import keep_artifact
from wherry.engine.builds.outputs import check_outputs, keeps_artifact, names_of, pushes
from wherry.engine.builds.outside import Outside
from wherry.engine.builds.receiving import receive
from wherry.engine.builds.request import BuildRequest
from wherry.engine.builds.steps import StepRunner
from wherry.engine.errors import BuildFailed, InvalidRequest
from wherry.engine.images import image_errors
from wherry.engine.worker import read_in_thread
from wherry.images import Image
from wherry.oci import Platform, parse_platform, parse_reference

if TYPE_CHECKING:
    from wherry.engine.engine import Engine
    from wherry.engine.images.flow import Event as TransferEvent

__all__ = [
    "BuildEvent",
    "Built",
    "Event",
    "StepFinished",
    "StepOutput",
    "StepStarted",
    "Tagged",
    "TriggersFound",
    "Warned",
    "run_build",
]


BuildEvent: TypeAlias = (
    "StepStarted | TriggersFound | StepOutput | StepFinished | Warned | Built | Tagged"
    " | TransferEvent"
)
"""What a build tells, and what its pulls and pushes do."""


class _Abandoned(Exception):
    """Nobody waits for this build any more."""


async def run_build(
    engine: "Engine",
    folder: Path,
    request: BuildRequest,
    context: AsyncIterator[bytes],
    finished: Callable[[Image], None],
) -> AsyncGenerator[BuildEvent, None]:
    """Build from a `context` that comes as a tar; yields what happens until it is done.

    When whoever asked goes away, the build ends, and the step that runs is killed. Raises
    InvalidRequest, BuildFailed, NotFound (of secrets).
    """
    secrets = engine.builds.secrets.take(request.secrets)
    options = _options(request, secrets)
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[BuildEvent | None] = asyncio.Queue()
    abandoned = threading.Event()
    steps = StepRunner(engine)
    outside = Outside(engine, request.logins, secrets, folder)

    def progress(event: Event) -> None:
        if abandoned.is_set():
            raise _Abandoned
        told = cast("TransferEvent", event.event) if isinstance(event, Fetching) else event
        loop.call_soon_threadsafe(events.put_nowait, told)

    def untold(event: Event) -> None:
        if not isinstance(event, Built):  # the image is not what will be there in the end
            progress(event)

    def work(tar: BinaryIO) -> Image:
        with Context(folder) as received:
            receive(request.remote, tar, received, outside)
            if not keeps_artifact(request.outputs):
                return build(received, options, engine.store, steps, progress, folder, outside)
            image = build(received, options, engine.store, steps, untold, folder, outside)
        artifact = keep_artifact(engine.store, image, options.tags)
        progress(Built(artifact.id))
        return artifact

    working = asyncio.ensure_future(read_in_thread(context, work, "build"))
    working.add_done_callback(lambda _: events.put_nowait(None))
    try:
        with _build_errors(), image_errors():
            while (event := await events.get()) is not None:
                yield event
            finished(await working)
        if pushes(request.outputs):
            for reference in options.tags:
                async for pushed in outside.push(reference):
                    yield pushed
    finally:
        abandoned.set()
        steps.abandon()
        outside.abandon()
        working.cancel()


def _options(request: BuildRequest, secrets: Mapping[str, bytes]) -> BuildOptions:
    check_outputs(request.outputs)
    names = dict.fromkeys([*request.tags, *names_of(request.outputs)])
    if pushes(request.outputs) and not names:
        raise InvalidRequest("an image without a name cannot be pushed: give it one with -t")
    with image_errors():
        return BuildOptions(
            dockerfile=request.dockerfile,
            tags=tuple(parse_reference(name).with_default_tag() for name in names),
            target=request.target,
            arguments=request.arguments,
            labels=request.labels,
            platforms=_platforms(request.platform),
            use_cache=request.use_cache,
            pull=request.pull,
            secrets=secrets,
            network=_network(request.network),
        )


def _platforms(text: str) -> tuple[Platform, ...]:
    """Those of `--platform A,B`, each once, in their order."""
    wanted = (parse_platform(one) for one in text.split(",") if one)
    return tuple(dict.fromkeys(wanted))


def _network(text: str) -> Network:
    match text:
        case "" | "default" | "bridge":
            return "default"
        case "none" | "host" as known:
            return known
    raise InvalidRequest(f"--network {text[:80]}: builds have default, none or host")


@contextmanager
def _build_errors() -> Iterator[None]:
    try:
        yield
    except BuildError as error:
        raise BuildFailed(str(error), error.code, error.classic) from None
