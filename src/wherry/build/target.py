"""One platform of a build: the stages it needs, and what becomes of them.

Of several platforms, a stage that would be the same for two of them is carried out once: what may
make it differ is its own platform, and the arguments that tell of the platform built for.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import msgspec
from msgspec.structs import replace

from wherry.build import syntax
from wherry.build.cache import cache_key
from wherry.build.errors import BuildError
from wherry.build.events import Progress, StepFinished, StepStarted, TriggersFound
from wherry.build.expansion import ExpansionError
from wherry.build.files import FileTree
from wherry.build.parser import parse_trigger
from wherry.build.session import Session
from wherry.build.stage_builder import StageBuilder, StageState
from wherry.build.stages import PlannedStage, plan_stages, sources
from wherry.build.together import Circle
from wherry.images import Image, ImageError, ImageNotFound
from wherry.oci import (
    WASM,
    InvalidPlatform,
    Platform,
    RuntimeConfig,
    encode,
    parse_platform,
)

SHORT_ID = 12
_SCRATCH = "scratch"

Identity = tuple[object, ...]
"""What a stage's result follows from, in one Dockerfile; equal ones are one stage."""


class Steps:
    """Tells of the steps of a stage by their numbers; of `total` it has those after `before`."""

    def __init__(self, progress: Progress, before: int, total: int) -> None:
        self._progress = progress
        self._number = before
        self._begun = 0.0
        self._total = total

    def start(self, text: str) -> None:
        """The next one begins."""
        self._number += 1
        self._begun = time.monotonic()
        self._progress(StepStarted(self._number, self._total, text))

    def finish(self, id: str, *, cached: bool = False) -> None:
        """It is done."""
        self._progress(StepFinished(id, cached, time.monotonic() - self._begun))


class Part(msgspec.Struct, frozen=True):
    """A stage's part in a build whose stages are built at once.

    `wait` returns when the stage of that number is built. It raises `Stopped` if another stage has
    failed; so do `progress` and `check`.
    """

    progress: Progress
    steps: Steps
    check: Callable[[], None]
    wait: Callable[[int], None]


class Target:
    """A platform to build for; None is the one that the base images have, wasi/wasm from scratch.

    `done` has the stages that are built, of other targets, too. `several` says that there are some,
    so that a step is told with its platform. Shared by the threads in which its stages are built.
    """

    def __init__(
        self,
        session: Session,
        dockerfile: syntax.Dockerfile,
        platform: Platform | None,
        done: dict[Identity, StageState],
        *,
        several: bool,
    ) -> None:
        self.platform = platform
        self._session = session
        self._dockerfile = dockerfile
        self._done = done
        self._several = several
        self._own: dict[Identity, StageState] = {}
        self._identities: dict[int, Identity] = {}
        self._platforms: dict[int, Platform | None] = {}
        self._stages: list[PlannedStage] = []
        self.common: Collection[Identity] = ()
        """Stages that other targets have, too."""

    def plan(self) -> dict[Identity, PlannedStage]:
        """The stages that are needed, each after all it needs, the one asked for at last.

        Raises BuildError.
        """
        arguments = self._session.arguments
        for arg in self._dockerfile.args:
            with self._blaming(arg):
                arguments.declare_global(arg, self._dockerfile.escape)
        target = self._session.options.target
        self._stages = plan_stages(self._dockerfile, target, arguments.before_from)
        for planned in self._stages:
            with self._blaming(planned.syntax.start):
                self._platforms[planned.number] = self._platform(planned)
            self._identities[planned.number] = self._identify(planned)
        return {self._identities[planned.number]: planned for planned in self._stages}

    def build(
        self, planned: PlannedStage, part: Part, labels: tuple[syntax.Label, ...] = ()
    ) -> bool | None:
        """Carry out a stage, and `labels` after the last one.

        Whether its last step came from the cache; None if all was done for another target. The last
        step of the last stage is told as finished by the caller, once its image is there.
        """
        if self._find(planned.number) is not None:
            return None
        return self._build(planned, part, labels, is_last=planned is self._stages[-1])

    def result(self) -> StageState:
        """What the last stage has come to."""
        return self._built(self._stages[-1].number)

    @property
    def unused(self) -> list[str]:
        """The --build-args that no stage has asked for so far."""
        return self._session.arguments.unused

    def _find(self, number: int) -> StageState | None:
        identity = self._identities[number]
        return self._own.get(identity) or self._done.get(identity)

    def _built(self, number: int) -> StageState:
        state = self._find(number)
        assert state is not None, "who needs a stage has waited for it"
        return state

    def _wait(self, number: int, part: Part) -> StageState:
        try:
            part.wait(number)
        except Circle:  # the planner has refused all others
            raise BuildError("a trigger of a base image makes stages need each other") from None
        return self._built(number)

    def _platform(self, planned: PlannedStage) -> Platform | None:
        if not planned.platform:
            return self.platform
        try:
            return parse_platform(planned.platform)
        except InvalidPlatform as error:
            raise BuildError(f"FROM: {error}") from None

    def _identify(self, planned: PlannedStage) -> Identity:
        arguments = self._session.arguments.before_from
        body = planned.syntax.body
        declared = {name for arg in body if isinstance(arg, syntax.Arg) for name, _ in arg.names}
        images = {name for one in body for name in sources(one)} - planned.origins.keys()
        base = None if planned.base is None else self._identities[planned.base]
        return (
            planned.number,
            planned.image,
            str(self._platforms[planned.number]),
            base,
            tuple(self._identities[number] for number in planned.origins.values()),
            tuple((name, arguments.get(name)) for name in sorted(declared)),
            # An image that files are taken from is the one for the platform built for.
            str(self.platform) if images else "",
        )

    def _build(
        self,
        planned: PlannedStage,
        part: Part,
        labels: tuple[syntax.Label, ...],
        *,
        is_last: bool,
    ) -> bool:
        """Carry out a stage; whether its last step came from the cache."""
        start, mark, steps = planned.syntax.start, self._mark(planned), part.steps
        base = None
        if planned.base is not None:
            with self._blaming(start):
                base = self._wait(planned.base, part)
        steps.start(mark + start.text)
        with self._blaming(start):
            state, id = (base, state_id(base)) if base else self._base(planned, part)
        triggers = state.config.on_build or []
        state = replace(state, config=replace(state.config, on_build=None))
        session = replace(self._session, progress=part.progress, check=part.check)
        builder = StageBuilder(session, state, lambda name: self._origin(planned, name, part))
        rest, cached = (*planned.syntax.body, *labels), False
        if rest or not is_last:
            steps.finish(id)
        if triggers:
            part.progress(TriggersFound(len(triggers)))
        for text in triggers:
            with self._blaming(start):
                builder.carry_out(parse_trigger(text))
        for number, instruction in enumerate(rest, 1):
            steps.start(mark + instruction.text)
            with self._blaming(instruction):
                cached = builder.carry_out(instruction)
            if number < len(rest) or not is_last:
                steps.finish(state_id(builder.state), cached=cached)
        # What the base image has triggered is not known beforehand, so it may be for this one only.
        kept = self._own if triggers else self._done
        kept[self._identities[planned.number]] = builder.state
        return cached

    def _mark(self, planned: PlannedStage) -> str:
        """For which platform a step is, where there are several."""
        if not self._several:
            return ""
        own = self._platforms[planned.number]
        if own == self.platform or self._identities[planned.number] in self.common:
            return f"[{own}] "
        return f"[{own}→{self.platform}] "

    def _base(self, planned: PlannedStage, part: Part) -> tuple[StageState, str]:
        """The image that the stage begins with, and its id."""
        platform = self._platforms[planned.number]
        if planned.image == _SCRATCH:
            return StageState(platform=platform or WASM), ""
        image = self._image("FROM ", planned.image, platform, part)
        history = tuple(image.config.history or ())
        state = StageState(
            platform=image.platform,
            config=image.config.config or RuntimeConfig(),
            author=image.config.author,
            layers=image.layers,
            rootfs=self._session.rootfs(image),
            history=history,
            inherited=len(history),
        )
        return state, short(image.id)

    def _origin(self, planned: PlannedStage, name: str, part: Part) -> tuple[FileTree, str]:
        """The files of a COPY or mount from `name`, and what they are called in errors."""
        if not name:
            return self._session.files, "the build context"
        number = planned.origins.get(name)
        if number is not None:
            return self._wait(number, part).rootfs, f"the stage {name!r}"
        if name == _SCRATCH:
            raise BuildError("from=scratch: there is nothing in it")
        if (stage := self._triggered(planned, name, part)) is not None:
            return stage, f"the stage {name!r}"
        image = self._image("from=", name, self.platform, part)
        return self._session.rootfs(image), f"the image {name!r}"

    def _triggered(self, planned: PlannedStage, name: str, part: Part) -> FileTree | None:
        """The stage that an ONBUILD of the base image means; None if `name` is an image."""
        stages = self._dockerfile.stages[: planned.number]
        for number in reversed(range(len(stages))):
            if stages[number].start.name == name.lower():
                if number in self._identities:
                    return self._wait(number, part).rootfs
                message = f"from={name}: only a trigger of {planned.image} wants this stage"
                raise BuildError(f"{message}, so it is not built: name it in a COPY --from here")
        return None

    def _image(self, instruction: str, name: str, platform: Platform | None, part: Part) -> Image:
        outside, pull = self._session.outside, self._session.options.pull
        try:
            if outside is not None:
                # Stages that want one image have it fetched, and told of, once.
                with self._session.alone("image", name, platform):
                    return outside.image(name, platform, part.progress, pull=pull)
            return self._session.store.resolve(name, platform)
        except (ImageNotFound, BuildError) as error:
            later = [stage.start for stage in self._dockerfile.stages if stage.start.name == name]
            if not later and isinstance(error, BuildError):
                raise
            hint = "load it with 'wherry load', or build it first"
            if later:
                hint = f"the stage of that name comes only later, in line {later[0].line}"
            message = f"{instruction}{name}: there is no such image"
            raise BuildError(f"{message}; {hint}") from None

    @contextmanager
    def _blaming(self, instruction: syntax.Instruction) -> Iterator[None]:
        """Say in errors which line of the Dockerfile they are about."""
        try:
            yield
        except BuildError as error:
            raise error.at(self._session.file, instruction.line) from error
        except (ExpansionError, ImageError) as error:
            raise BuildError(str(error), self._session.file, instruction.line) from error


def state_id(state: StageState) -> str:
    """What a step's result is called while the build goes on."""
    return cache_key(encode(state.config), [layer.diff_id for layer in state.layers])[:SHORT_ID]


def short(digest: str) -> str:
    """The beginning of a digest, as people are told it."""
    return digest.partition(":")[2][:SHORT_ID]
