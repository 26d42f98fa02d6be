"""What all stages of one build share: where layers go, what was done before, what time it is."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from wherry.build.archive import ArchiveTree
from wherry.build.cache import BuildCache, CachedLayer, cache_key
from wherry.build.errors import BuildError
from wherry.build.events import Progress, StepOutput
from wherry.build.layer_plan import LayerPlan
from wherry.build.options import BuildOptions, Step, StepRunner
from wherry.build.rootfs import KnownLayer, Rootfs, StackedLayer, UnpackedLayer
from wherry.build.variables import EPOCH, Arguments
from wherry.build.workspace import workspace
from wherry.images import Image, ImageStore, Layer, LayerWriter
from wherry.images.diff import write_diff
from wherry.images.tar import Kind
from wherry.oci import Digest

_NANOSECONDS = 1_000_000_000


class Clock:
    """The time that is written into layers and configs.

    With SOURCE_DATE_EPOCH it is that, everywhere, so that the same input gives the same bytes.
    """

    def __init__(self, arguments: Mapping[str, str | None]) -> None:
        """Raises BuildError when SOURCE_DATE_EPOCH is not a number of seconds."""
        text = arguments.get(EPOCH) or os.environ.get(EPOCH) or ""
        if text and not (text.isascii() and text.isdigit() and len(text) < 12):
            raise BuildError(f"{EPOCH}={text}: seconds since 1970 are needed, like 1700000000")
        self.epoch = int(text) if text else None
        self.now = self.epoch * _NANOSECONDS if self.epoch is not None else time.time_ns()

    @property
    def mtime(self) -> int | None:
        """The modification time of every file, in nanoseconds; None when files keep their own."""
        return None if self.epoch is None else self.now

    @property
    def text(self) -> str:
        """The time as configs have it (RFC 3339)."""
        seconds, rest = divmod(self.now, _NANOSECONDS)
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
        return moment.isoformat().replace("+00:00", "Z")


class Session(msgspec.Struct, frozen=True):
    """One build. `folder` is the data root's `build`; `resources` are given back at its end."""

    file: str
    escape: str
    files: ArchiveTree
    options: BuildOptions
    arguments: Arguments
    store: ImageStore
    runner: StepRunner
    progress: Progress
    cache: BuildCache
    clock: Clock
    folder: Path
    resources: ExitStack

    def layer(
        self, key: tuple[object, ...], make: Callable[[], CachedLayer]
    ) -> tuple[CachedLayer, bool]:
        """The layer of `key` from the cache, and True; else what `make` makes, and False."""
        name = cache_key(*key, self.clock.epoch)
        found = self.cache.find(name) if self.options.use_cache else None
        if found is not None:
            return found, True
        made = make()
        self.cache.remember(name, made)
        return made, False

    def write(self, plan: LayerPlan) -> CachedLayer:
        """Write the planned layer into the store."""
        additions = list(plan)
        with LayerWriter(self.store.blobs) as writer:
            for addition in additions:
                if addition.entry.kind is Kind.FILE and addition.tree is not None:
                    with addition.tree.open(addition.path) as content:
                        writer.add_entry(addition.entry, content)
                else:
                    writer.add_entry(addition.entry, addition.data)
            layer = writer.commit()
        return CachedLayer(layer, self.clock.text, [addition.entry for addition in additions])

    def run(
        self, argv: list[str], variables: dict[str, str], cwd: str, user: str, below: Rootfs
    ) -> CachedLayer:
        """Run a Wasm program upon the layers `below`; what it changes is a layer of its own."""
        with workspace(self.folder / "run") as place:
            upper, work = place / "upper", place / "work"
            upper.mkdir(mode=0o755)
            work.mkdir()
            step = Step(
                argv=argv,
                env=[f"{name}={value}" for name, value in variables.items()],
                cwd=cwd,
                user=user,
                lowerdirs=below.lowerdirs(),
                upperdir=upper,
                workdir=work,
                output=lambda data: self.progress(StepOutput(data)),
            )
            code = self.runner.run(step)
            if code:
                command = " ".join(argv)
                raise BuildError(f"RUN {command}: the program ended with exit code {code}")
            with LayerWriter(self.store.blobs, clamp=self.clock.epoch) as writer:
                write_diff(upper, writer)
                layer = writer.commit()
        return CachedLayer(layer, self.clock.text)

    def stacked(self, cached: CachedLayer) -> StackedLayer:
        """The layer as a part of a root filesystem."""
        unpack = self.unpacker(cached.layer)
        if cached.entries is None:
            return UnpackedLayer(unpack)
        return KnownLayer(cached.entries, unpack)

    def rootfs(self, image: Image) -> Rootfs:
        """The root filesystem of an image in the store."""
        layers = image_layers(image)
        return Rootfs([UnpackedLayer(self.unpacker(layer)) for layer in reversed(layers)])

    def unpacker(self, layer: Layer) -> Callable[[], Path]:
        """What unpacks `layer` and says where."""
        return lambda: self.store.layer_lowerdirs([layer])[0]


def image_layers(image: Image) -> tuple[Layer, ...]:
    """The layers of an image, lowest first."""
    pairs = zip(image.manifest.layers, image.config.rootfs.diff_ids, strict=True)
    return tuple(Layer(descriptor, Digest(diff_id)) for descriptor, diff_id in pairs)
