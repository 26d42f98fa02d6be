"""A whole build: for each platform the stages of the Dockerfile, and one image or index of all."""

import re
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from wherry.build import syntax
from wherry.build.at_once import build_stages
from wherry.build.cache import BuildCache, cache_key
from wherry.build.context import Context, apply_ignore_file, read_dockerfile
from wherry.build.errors import BuildError
from wherry.build.events import Built, Progress, Tagged, Warned
from wherry.build.mounting import Mounting
from wherry.build.options import BuildOptions, Outside, StepRunner
from wherry.build.parser import parse
from wherry.build.session import Clock, Session
from wherry.build.stage_builder import StageState
from wherry.build.target import Identity, Steps, Target, short
from wherry.build.variables import MULTI_PLATFORM, Arguments
from wherry.build.workspace import workspace
from wherry.images import Image, ImageError, ImageStore
from wherry.oci import Descriptor, Digest, ImageConfig, Platform, RootFS, encode

_TRUE = ("1", "true")
_MADE_UP = ".dockerfile."
_OWN_FRONTEND = re.compile(r"(docker\.io/)?docker/dockerfile(-upstream)?([:@].*)?")


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
            arguments=Arguments(options.arguments, None, options.target),
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

    def run(self) -> Image:
        frontend = self._dockerfile.frontend
        if frontend and not _OWN_FRONTEND.fullmatch(frontend):
            message = f"# syntax={frontend}: no other language is spoken here"
            self._progress(Warned(f"{message}, the file is read as a Dockerfile"))
        wanted: tuple[Platform | None, ...] = self._options.platforms or (None,)
        done: dict[Identity, StageState] = {}
        targets = [
            Target(
                replace(self._session, arguments=self._arguments(platform)),
                self._dockerfile,
                platform,
                done,
                several=len(wanted) > 1,
            )
            for platform in wanted
        ]
        made: dict[int, Descriptor] = {}

        def ending(target: Target, cached: bool | None, steps: Steps) -> None:
            made[targets.index(target)] = self._write(target, cached, steps)

        build_stages(self._session, self._dockerfile, targets, self._labels(), ending)
        image = self._name([made[number] for number in range(len(targets))])
        self._tell(image, targets)
        return image

    def _arguments(self, platform: Platform | None) -> Arguments:
        return Arguments(self._options.arguments, platform, self._options.target)

    def _write(self, target: Target, cached: bool | None, steps: Steps) -> Descriptor:
        """Write the image of what was built for one platform."""
        state = target.result()
        config = self._dated(_config(state), state.inherited)
        descriptors = [layer.descriptor for layer in state.layers]
        written = self._store.write_manifest(config, descriptors)
        if cached is not None:
            steps.finish(short(written.config), cached=cached)
        return written.target

    def _name(self, manifests: list[Descriptor]) -> Image:
        """Put what was built into the store's list: the image, or all of them as one index."""
        several = len(manifests) > 1 or self._options.arguments.get(MULTI_PLATFORM) in _TRUE
        target = self._store.write_index(manifests) if several else manifests[0]
        self._store.enter(target, self._options.tags)
        return self._store.resolve(target.digest)

    def _tell(self, image: Image, targets: list[Target]) -> None:
        if unused := set.intersection(*(set(target.unused) for target in targets)):
            names = ", ".join(sorted(unused))
            self._progress(Warned(f"no ARG in the Dockerfile asks for the --build-arg {names}"))
        indexed = image.target.digest != image.digest
        self._progress(Built(Digest(image.target.digest) if indexed else image.id))
        for reference in self._options.tags:
            self._progress(Tagged(reference.with_default_tag().familiar))

    def _labels(self) -> tuple[syntax.Label, ...]:
        """The --labels, as an instruction of their own at the end."""
        pairs = sorted(self._options.labels.items())
        if not pairs:
            return ()
        text = "LABEL " + " ".join(f"{name}={value}" for name, value in pairs)
        quoted = tuple((_quoted(name), _quoted(value)) for name, value in pairs)
        return (syntax.Label(line=0, text=text, pairs=quoted),)

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


def _config(state: StageState) -> ImageConfig:
    return ImageConfig(
        architecture=state.platform.architecture,
        os=state.platform.os,
        variant=state.platform.variant,
        author=state.author,
        config=state.config,
        rootfs=RootFS(diff_ids=[layer.diff_id for layer in state.layers]),
        history=list(state.history),
    )


def _told_name(path: str) -> str:
    """What errors call the Dockerfile: clients give one from outside the context a made-up name."""
    return "Dockerfile" if path.startswith(_MADE_UP) else path


def _quoted(text: str) -> str:
    """`text` as a word that expands to itself."""
    return "'" + text.replace("'", "'\"'\"'") + "'"
