"""A whole build: the Dockerfile's stages in order, and the image the last of them makes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec.structs import replace

from wherry.build import syntax
from wherry.build.cache import BuildCache, cache_key
from wherry.build.context import Context, apply_ignore_file, read_dockerfile
from wherry.build.errors import BuildError
from wherry.build.events import (
    Built,
    Progress,
    StepFinished,
    StepStarted,
    Tagged,
    TriggersFound,
    Warned,
)
from wherry.build.expansion import ExpansionError
from wherry.build.files import FileTree
from wherry.build.mounting import Mounting
from wherry.build.options import BuildOptions, Outside, StepRunner
from wherry.build.parser import parse, parse_trigger
from wherry.build.session import Clock, Session, image_layers
from wherry.build.stage_builder import StageBuilder, StageState
from wherry.build.stages import PlannedStage, plan_stages
from wherry.build.variables import Arguments
from wherry.build.workspace import workspace
from wherry.images import Image, ImageError, ImageNotFound, ImageStore
from wherry.oci import (
    WASM,
    ImageConfig,
    InvalidPlatform,
    Platform,
    RootFS,
    RuntimeConfig,
    encode,
    parse_platform,
)

_SCRATCH = "scratch"
_SHORT_ID = 12
_MADE_UP = ".dockerfile."


def build(
    context: Context,
    options: BuildOptions,
    store: ImageStore,
    runner: StepRunner,
    progress: Progress,
    folder: Path,
    outside: Outside | None = None,
) -> Image:
    """Build an image from `context`, put it into `store` and name it.

    Blocking. `folder` is the data root's `build`: the cache and what is under way. Without
    `outside` there is what the store has and no more. Whatever goes wrong, the store's names are as
    they were. Raises BuildError, and what `progress`, `runner` and `outside` raise.
    """
    try:
        with store.hold(), ExitStack() as resources:
            return _Build(
                context, options, store, runner, progress, folder, outside, resources
            ).run()
    except ImageError as error:
        raise BuildError(str(error)) from error
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise BuildError(f"the build failed: {error.strerror or error}{where}") from error


class _Build:
    def __init__(
        self,
        context: Context,
        options: BuildOptions,
        store: ImageStore,
        runner: StepRunner,
        progress: Progress,
        folder: Path,
        outside: Outside | None,
        resources: ExitStack,
    ) -> None:
        files = context.files()
        path, source = read_dockerfile(files, options.dockerfile)
        apply_ignore_file(files, path)
        self._dockerfile = parse(source, _told_name(path))
        self._options = options
        self._store = store
        self._progress = progress
        self._session = Session(
            file=self._dockerfile.file,
            escape=self._dockerfile.escape,
            files=files,
            options=options,
            arguments=Arguments(options.arguments, options.platform),
            store=store,
            runner=runner,
            progress=progress,
            cache=BuildCache(folder / "cache", store.blobs),
            clock=Clock(options.arguments),
            folder=folder,
            resources=resources,
            mounting=Mounting(
                folder,
                lambda: resources.enter_context(workspace(folder / "run")),
                options.secrets,
                runner.wait,
            ),
            outside=outside,
        )
        self._step = 0
        self._total = 0
        self._last_cached = False
        self._done: dict[int, StageState] = {}

    def run(self) -> Image:
        arguments = self._session.arguments
        for arg in self._dockerfile.args:
            with self._blaming(arg):
                arguments.declare_global(arg, self._dockerfile.escape)
        stages = plan_stages(self._dockerfile, self._options.target, arguments.before_from)
        labels = self._labels()
        steps = sum(1 + len(stage.syntax.body) for stage in stages)
        self._total = len(self._dockerfile.args) + steps + len(labels)
        for arg in self._dockerfile.args:
            self._start(arg)
            self._progress(StepFinished(""))
        last = stages[-1]
        for stage in stages:
            self._done[stage.number] = self._stage(stage, labels if stage is last else ())
        image = self._finish(self._done[last.number])
        if arguments.unused:
            names = ", ".join(arguments.unused)
            self._progress(Warned(f"no ARG in the Dockerfile asks for the --build-arg {names}"))
        self._progress(Built(image.id))
        for reference in self._options.tags:
            self._progress(Tagged(reference.with_default_tag().familiar))
        return image

    def _labels(self) -> tuple[syntax.Label, ...]:
        """The --labels, as an instruction of their own at the end."""
        pairs = sorted(self._options.labels.items())
        if not pairs:
            return ()
        text = "LABEL " + " ".join(f"{name}={value}" for name, value in pairs)
        quoted = tuple((_quoted(name), _quoted(value)) for name, value in pairs)
        return (syntax.Label(line=0, text=text, pairs=quoted),)

    def _stage(self, planned: PlannedStage, labels: tuple[syntax.Label, ...]) -> StageState:
        start = planned.syntax.start
        self._start(start)
        with self._blaming(start):
            state, base = self._base(planned)
        triggers = state.config.on_build or []
        state = replace(state, config=replace(state.config, on_build=None))
        builder = StageBuilder(self._session, state, lambda name: self._origin(planned, name))
        self._finished(base)
        if triggers:
            self._progress(TriggersFound(len(triggers)))
        for text in triggers:
            with self._blaming(start):
                builder.carry_out(parse_trigger(text))
        for instruction in (*planned.syntax.body, *labels):
            self._start(instruction)
            with self._blaming(instruction):
                cached = builder.carry_out(instruction)
            self._finished(_state_id(builder.state), cached)
        return builder.state

    def _base(self, planned: PlannedStage) -> tuple[StageState, str]:
        """What the stage begins with, and its id."""
        if planned.base is not None:
            state = self._done[planned.base]
            return state, _state_id(state)
        platform = self._options.platform
        if planned.platform:
            try:
                platform = parse_platform(planned.platform)
            except InvalidPlatform as error:
                raise BuildError(f"FROM: {error}") from None
        if planned.image == _SCRATCH:
            return StageState(platform=platform or WASM), ""
        image = self._image("FROM ", planned.image, platform)
        history = tuple(image.config.history or ())
        state = StageState(
            platform=image.platform,
            config=image.config.config or RuntimeConfig(),
            author=image.config.author,
            layers=image_layers(image),
            rootfs=self._session.rootfs(image),
            history=history,
            inherited=len(history),
        )
        return state, _short(image.id)

    def _origin(self, planned: PlannedStage, name: str) -> tuple[FileTree, str]:
        """The files of a COPY or mount from `name`, and what they are called in errors."""
        if not name:
            return self._session.files, "the build context"
        number = planned.origins.get(name)
        if number is not None:
            return self._done[number].rootfs, f"the stage {name!r}"
        if name == _SCRATCH:
            raise BuildError("from=scratch: there is nothing in it")
        image = self._image("from=", name, self._options.platform)
        return self._session.rootfs(image), f"the image {name!r}"

    def _image(self, instruction: str, name: str, platform: Platform | None) -> Image:
        outside = self._session.outside
        try:
            if outside is not None:
                return outside.image(name, platform, pull=self._options.pull)
            return self._store.resolve(name, platform)
        except ImageNotFound:
            later = [stage.start for stage in self._dockerfile.stages if stage.start.name == name]
            hint = "load it with 'wherry load', or build it first"
            if later:
                hint = f"the stage of that name comes only later, in line {later[0].line}"
            message = f"{instruction}{name}: there is no such image in the local store"
            raise BuildError(f"{message}; {hint}") from None

    def _finish(self, state: StageState) -> Image:
        config = self._dated(
            ImageConfig(
                architecture=state.platform.architecture,
                os=state.platform.os,
                variant=state.platform.variant,
                author=state.author,
                config=state.config,
                rootfs=RootFS(diff_ids=[layer.diff_id for layer in state.layers]),
                history=list(state.history),
            ),
            state.inherited,
        )
        tags = self._options.tags
        descriptors = [layer.descriptor for layer in state.layers]
        image = self._store.write_image(config, descriptors, reference=tags[0] if tags else None)
        for reference in tags[1:]:
            self._store.tag(image.target, reference)
        self._progress(StepFinished(_short(image.id), self._last_cached))
        return image if len(tags) < 2 else self._store.resolve(image.digest)

    def _dated(self, config: ImageConfig, inherited: int) -> ImageConfig:
        """`config` with the time it was made; the same as before if it was made before."""
        clock, cache = self._session.clock, self._session.cache
        key = cache_key("image", encode(config), clock.epoch)
        created = cache.find_time(key) if self._options.use_cache else None
        if created is None:
            created = clock.text
            cache.remember_time(key, created)
        history = [
            replace(entry, created=created) if number >= inherited and not entry.created else entry
            for number, entry in enumerate(config.history or ())
        ]
        return replace(config, created=created, history=history)

    def _start(self, instruction: syntax.Instruction) -> None:
        self._step += 1
        self._progress(StepStarted(self._step, self._total, instruction.text))

    def _finished(self, id: str, cached: bool = False) -> None:
        """Tell of the end of a step; of the last one only when its image is there."""
        if self._step < self._total:
            self._progress(StepFinished(id, cached))
        else:
            self._last_cached = cached

    @contextmanager
    def _blaming(self, instruction: syntax.Instruction) -> Iterator[None]:
        """Say in errors which line of the Dockerfile they are about."""
        try:
            yield
        except BuildError as error:
            raise error.at(self._session.file, instruction.line) from error
        except (ExpansionError, ImageError) as error:
            raise BuildError(str(error), self._session.file, instruction.line) from error


def _told_name(path: str) -> str:
    """What errors call the Dockerfile: clients give one from outside the context a made-up name."""
    return "Dockerfile" if path.startswith(_MADE_UP) else path


def _state_id(state: StageState) -> str:
    return cache_key(encode(state.config), [layer.diff_id for layer in state.layers])[:_SHORT_ID]


def _short(digest: str) -> str:
    return digest.partition(":")[2][:_SHORT_ID]


def _quoted(text: str) -> str:
    """`text` as a word that expands to itself."""
    return "'" + text.replace("'", "'\"'\"'") + "'"
