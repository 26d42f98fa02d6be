"""What all stages of one build share: where layers go, what was done before, what time it is."""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from wherry.build.archive import ArchiveTree
from wherry.build.cache import BuildCache, CachedLayer, cache_key
from wherry.build.errors import BuildError
from wherry.build.events import Progress, StepOutput, Warned
from wherry.build.files import FileTree
from wherry.build.layer_plan import LayerPlan
from wherry.build.masking import masked
from wherry.build.mount_points import LINUX, make_mount_points
from wherry.build.mounting import Mount, Mounting
from wherry.build.options import BuildOptions, Network, Outside, Step, StepRunner
from wherry.build.remote import FILE, RemoteFile
from wherry.build.repository import parse_repository
from wherry.build.rootfs import KnownLayer, Rootfs, StackedLayer, UnpackedLayer
from wherry.build.running import Program
from wherry.build.spool import Spool
from wherry.build.variables import EPOCH, Arguments
from wherry.build.workspace import workspace
from wherry.images import Image, ImageStore, Layer, LayerWriter
from wherry.images.diff import write_diff
from wherry.images.tar import Kind
from wherry.oci import Digest, Platform

EMPTY_LAYER = Digest("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")
"""The diff_id of a layer without entries: the two blocks that end a tar. None is put into images,
as in Docker."""

_MODULES = ".gitmodules"
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


class StepRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances in which a RUN runs its program."""

    environment: dict[str, str]
    cwd: str
    user: str
    platform: Platform
    network: Network


class Session(msgspec.Struct, frozen=True):
    """One build, as one of its stages sees it: `progress` is the stage's own.

    `folder` is the data root's `build`; `resources` are given back at its end. All that stages have
    in common may be used by several at once.
    """

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
    mounting: Mounting
    outside: Outside | None
    check: Callable[[], None] = lambda: None
    """Raises if the build is not to go on; asked now and then by what takes long."""
    locks: dict[object, threading.Lock] = msgspec.field(default_factory=dict)

    def layer(
        self, key: tuple[object, ...], make: Callable[[], CachedLayer]
    ) -> tuple[CachedLayer, bool]:
        """The layer of `key` from the cache, and True; else what `make` makes, and False."""
        name = cache_key(*key, self.clock.epoch)
        if not self.options.use_cache:
            made = make()
            self.cache.remember(name, made)
            return made, False
        # Of stages that are built at once, one makes what several want.
        with self.alone(name):
            found = self.cache.find(name)
            if found is not None:
                return found, True
            made = make()
            self.cache.remember(name, made)
            return made, False

    def alone(self, *key: object) -> threading.Lock:
        """A lock for those stages of this build that do what `key` says."""
        return self.locks.setdefault(key, threading.Lock())

    def write(self, plan: LayerPlan) -> CachedLayer:
        """Write the planned layer into the store."""
        additions = list(plan)
        with LayerWriter(self.store.blobs) as writer:
            for addition in additions:
                self.check()
                if addition.entry.kind is Kind.FILE and addition.tree is not None:
                    with addition.tree.open(addition.path) as content:
                        writer.add_entry(addition.entry, content)
                else:
                    writer.add_entry(addition.entry, addition.data)
            layer = writer.commit()
        return CachedLayer(layer, self.clock.text, [addition.entry for addition in additions])

    def download(self, url: str, checksum: str) -> tuple[str, FileTree]:
        """The name of a file of the web, and the tree it is in (see `remote`). Raises BuildError.

        `checksum` is what its content has to be, or empty.
        """
        if self.outside is None:
            raise BuildError(f"ADD {masked(url)}: this build has no network")
        key = cache_key("url", url)
        found = RemoteFile(
            url,
            self.outside.open_url,
            lambda: self.resources.enter_context(Spool(self.folder)),
            self.cache.find_url(key) if self.options.use_cache else None,
            lambda known: self.cache.remember_url(key, known),
        )
        digest = found.digest(FILE).hex()
        if checksum and checksum != f"sha256:{digest}":
            raise BuildError(
                f"ADD {masked(url)}: its digest is sha256:{digest}, not the --checksum's"
            )
        return found.name, found

    def checkout(self, source: str, checksum: str) -> FileTree:
        """The files of a git repository. Raises BuildError.

        `checksum` is the commit that it has to be, or empty.
        """
        repository = parse_repository(source)
        assert repository is not None
        if self.outside is None:
            raise BuildError(f"ADD {repository}: this build has no network")
        spool = self.resources.enter_context(Spool(self.folder, content="the repository"))
        commit = self.outside.fetch(repository, spool.write)
        if checksum and checksum != commit:
            raise BuildError(f"ADD {repository}: its commit is {commit}, not the --checksum's")
        files = ArchiveTree(spool, own=True)
        if files.entry(_MODULES):
            self.progress(Warned(f"ADD {repository}: its submodules are not fetched"))
        return files

    def network(self, asked: Network) -> Network:
        """What a RUN that asks for this network gets. Raises BuildError."""
        if asked == "host" and self.options.network != "host":
            hint = "allow it with 'wherry build --network host'"
            raise BuildError(f"RUN --network=host: a Dockerfile may not decide that; {hint}")
        return self.options.network if asked == "default" else asked

    def run(
        self, program: Program, request: StepRequest, mounts: tuple[Mount, ...], below: Rootfs
    ) -> CachedLayer:
        """Run a program upon the layers `below`; what it changes is a layer of its own."""
        with ExitStack() as resources:
            place = resources.enter_context(workspace(self.folder / "run"))
            ready = resources.enter_context(self.mounting.ready(mounts, place))
            upper, work, points = place / "upper", place / "work", place / "points"
            for folder in (upper, work, points):
                folder.mkdir(mode=0o755)
            wanted = ready.points if request.platform.is_wasm else [*LINUX, *ready.points]
            lowerdirs = below.lowerdirs()
            if wanted:
                make_mount_points(points, below, wanted, self.clock.now)
                lowerdirs = [points, *lowerdirs]
            variables = request.environment | ready.environment
            said = b"\n"

            def tell(data: bytes) -> None:
                nonlocal said
                said = data or said
                self.progress(StepOutput(data))

            code = self.runner.run(
                Step(
                    argv=program.argv,
                    env=[f"{name}={value}" for name, value in variables.items()],
                    cwd=request.cwd,
                    user=request.user,
                    platform=request.platform,
                    network=request.network if program.wants_network else "none",
                    mounts=ready.mounts,
                    files=[*program.files, *ready.files],
                    lowerdirs=lowerdirs,
                    upperdir=upper,
                    workdir=work,
                    output=tell,
                )
            )
            if not said.endswith(b"\n"):
                # What is told next begins on a line of its own.
                self.progress(StepOutput(b"\n"))
            if code:
                raise _failure(program.argv, code)
            with LayerWriter(self.store.blobs, clamp=self.clock.epoch) as writer:
                write_diff(upper, writer)
                layer = writer.commit()
        return CachedLayer(layer, self.clock.text)

    def stacked(self, cached: CachedLayer) -> StackedLayer:
        """The layer as a part of a root filesystem."""
        unpack = _unpacker(self.store, cached.layer)
        if cached.entries is None:
            return UnpackedLayer(cached.layer.diff_id, unpack)
        return KnownLayer(cached.layer.diff_id, cached.entries, unpack)

    def rootfs(self, image: Image) -> Rootfs:
        """The root filesystem of an image in the store."""
        return unpacked(self.store, image)


def _failure(argv: list[str], code: int) -> BuildError:
    """A program's exit code in BuildKit's words, which quotes as Go does."""
    command = " ".join(argv)
    quoted = json.dumps(command, ensure_ascii=False)
    return BuildError(
        f"process {quoted} did not complete successfully: exit code: {code}",
        code=code,
        classic=f"The command '{command}' returned a non-zero code: {code}",
    )


def unpacked(store: ImageStore, image: Image) -> Rootfs:
    """The root filesystem of an image; what is not unpacked yet is when it is looked at."""
    layers = image.layers
    chain, found = "", list[UnpackedLayer]()
    for count, layer in enumerate(layers, 1):
        # What a layer has hard links to is of those below it, so they are a part of what it is.
        chain = cache_key(chain, layer.diff_id) if chain else layer.diff_id
        found.append(UnpackedLayer(chain, _unpacker(store, *layers[:count])))
    return Rootfs(found[::-1])


def _unpacker(store: ImageStore, *layers: Layer) -> Callable[[], Path]:
    """Unpacks the last of some layers, lowest first."""
    return lambda: store.layer_folder(layers)
