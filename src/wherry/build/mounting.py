"""The mounts of a RUN step: what they are once variables are replaced, and how they are made ready.

What decides a step's result is in `key`: the content that is bound, never that of caches or
secrets. Everything else happens in `ready`, when the step is to run.
"""

import os
import posixpath
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from wherry.build import syntax
from wherry.build.archive import ArchiveTree
from wherry.build.cache_mounts import CacheMounts, cache_name
from wherry.build.errors import BuildError
from wherry.build.files import FileTree, resolve
from wherry.build.layer_plan import LayerPlan, Override
from wherry.build.mount_points import MountPoint
from wherry.build.options import StepFile
from wherry.build.owners import parse_mode
from wherry.build.rootfs import Rootfs
from wherry.build.tree_copy import copy_tree
from wherry.images.tar import Kind
from wherry.oci import runtime as oci

_SECRETS = "/run/secrets"
_SIZE = re.compile(r"(\d+)([kmg]?)b?", re.ASCII)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30}
_MAX_ID = (1 << 32) - 2
_AS_IT_IS = Override(owner=None, mode=None, mtime=None, now=0)


class Source(msgspec.Struct, frozen=True):
    """Files that are mounted, or a cache begins with: `path` (resolved) in `tree`."""

    tree: FileTree
    path: str

    @property
    def is_directory(self) -> bool:
        """Whether it is one directory, and no file."""
        entry = self.tree.entry(self.path)
        return entry is None or entry.kind is Kind.DIRECTORY

    def identity(self) -> object:
        """What decides its content."""
        if isinstance(self.tree, Rootfs):
            return (self.path, self.tree.identity(self.path))
        plan = LayerPlan(Rootfs())
        plan.add(self.tree, self.path, "" if self.is_directory else "file", _AS_IT_IS)
        return plan.digest()


class Mount(msgspec.Struct, frozen=True):
    """A mount with its variables replaced; `target` is absolute."""

    asked: syntax.RunMount
    target: str
    id: str
    source: Source | None = None
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0

    def beginning(self) -> object:
        """What decides the first content of a cache."""
        return None if self.source is None else self.source.identity()

    def key(self) -> tuple[object, ...]:
        """What of it decides the step's result."""
        asked = self.asked
        facts: tuple[object, ...] = (asked.kind, self.target, asked.read_only)
        if asked.kind == "bind" and self.source is not None:
            return (*facts, self.source.identity())
        if asked.kind == "secret":
            return (*facts, self.id, asked.env, self.mode, self.uid, self.gid)
        return (*facts, self.id, self.size)


class Ready(msgspec.Struct):
    """Mounts that a step can be run with. `environment` are secrets, not to be told to anybody."""

    mounts: list[oci.Mount] = []
    files: list[StepFile] = []
    environment: dict[str, str] = {}
    points: list[MountPoint] = []


def read_mount(
    asked: syntax.RunMount,
    expand: Callable[[str], str],
    workdir: str,
    origin: Callable[[str], tuple[FileTree, str]],
) -> Mount:
    """`asked` with its variables replaced. `origin` gives the files of a `from`.

    Raises BuildError, ExpansionError.
    """
    target, id = expand(asked.target), expand(asked.id)
    if asked.kind == "secret":
        id = id or posixpath.basename(target)
        if not target and not asked.env:
            target = f"{_SECRETS}/{posixpath.basename(id)}"
    if target:
        target = posixpath.normpath(posixpath.join("/", workdir, target))
        if target == "/":
            raise BuildError("RUN --mount: nothing can be mounted upon the root directory")
    source = None
    if asked.kind == "bind" or (asked.kind == "cache" and (asked.origin or asked.source)):
        source = _source(asked, expand(asked.source), origin)
    mode = parse_mode(asked.mode) if asked.mode else 0o400 if asked.kind == "secret" else 0o755
    return Mount(
        asked=asked,
        target=target,
        id=id or target,
        source=source,
        mode=mode,
        uid=_number("uid", expand(asked.uid)),
        gid=_number("gid", expand(asked.gid)),
        size=_bytes(expand(asked.size)),
    )


class Mounting:
    """Makes mounts ready. `folder` is the data root's `build`; what is unpacked of the build
    context goes into `scratch`, which lives as long as the build."""

    def __init__(
        self,
        folder: Path,
        scratch: Callable[[], Path],
        secrets: Mapping[str, bytes],
        waiting: Callable[[], None],
    ) -> None:
        self._caches = CacheMounts(folder / "mounts")
        self._scratch = scratch
        self._secrets = secrets
        self._waiting = waiting
        self._unpacked: dict[str, Path] = {}
        self._unpacking = threading.Lock()

    @contextmanager
    def ready(self, mounts: tuple[Mount, ...], place: Path) -> Iterator[Ready]:
        """The mounts, for as long as the step runs; `place` is the step's own folder.

        Raises BuildError.
        """
        found = Ready()
        with ExitStack() as held:
            caches = self._use_caches(mounts, held)
            for number, mount in enumerate(mounts):
                own = place / f"mount-{number}"
                match mount.asked.kind:
                    case "secret":
                        self._secret(mount, found)
                        continue
                    case "tmpfs":
                        found.mounts.append(_tmpfs(mount))
                    case "cache":
                        found.mounts.append(_bind(caches[number], mount))
                    case _:
                        found.mounts.append(self._bind(mount, own))
                directory = mount.source is None or mount.source.is_directory
                found.points.append(MountPoint(mount.target, is_directory=directory))
            yield found

    def _secret(self, mount: Mount, found: Ready) -> None:
        data = self._secrets.get(mount.id)
        if data is None:
            if mount.asked.required:
                hint = f"give it with --secret id={mount.id},src=FILE"
                raise BuildError(f"the secret {mount.id!r} is required: {hint}")
            return
        if mount.asked.env:
            try:
                found.environment[mount.asked.env] = data.decode()
            except UnicodeDecodeError:
                message = f"the secret {mount.id!r} is no text, so it fits in no variable"
                raise BuildError(f"{message}: use target instead of env") from None
        if mount.target:
            found.files.append(StepFile(mount.target, data, mount.mode, mount.uid, mount.gid))
            found.points.append(MountPoint(mount.target, is_directory=False))

    def _use_caches(self, mounts: tuple[Mount, ...], held: ExitStack) -> dict[int, Path]:
        """The caches among the mounts, by their places.

        Each is taken once, and all steps take them in one order: none waits for itself, or for a
        step that waits for it.
        """
        names = {
            number: cache_name(mount.id, mount.beginning())
            for number, mount in enumerate(mounts)
            if mount.asked.kind == "cache"
        }
        taken: dict[str, Path] = {}
        for name, number in sorted((name, number) for number, name in names.items()):
            if name not in taken:
                taken[name] = held.enter_context(self._cache(mounts[number]))
        return {number: taken[name] for number, name in names.items()}

    @contextmanager
    def _cache(self, mount: Mount) -> Iterator[Path]:
        source = mount.source
        if source is not None and not source.is_directory:
            raise BuildError(f"RUN --mount: /{source.path}, the cache's source, is a file")

        def make(new: Path) -> None:
            if source is not None:
                copy_tree(source.tree, source.path, new)
            os.chmod(new, mount.mode)
            if (mount.uid, mount.gid) != (0, 0):
                _own(new, mount)

        using = self._caches.use(
            mount.id, mount.beginning(), mount.asked.sharing, make, self._waiting
        )
        with using as content:
            yield content

    def _bind(self, mount: Mount, own: Path) -> oci.Mount:
        source = mount.source
        assert source is not None
        parts = self._parts(source)
        if not source.is_directory:
            if mount.asked.read_only:
                return _bind(parts[0], mount)
            shutil.copy2(parts[0], own)
            return _bind(own, mount)
        upper, work, nothing = own / "upper", own / "work", own / "nothing"
        for folder in (upper, work, nothing):
            folder.mkdir(parents=True)
        # Overlay wants two folders at least, and the topmost says what the whole is like.
        options = [f"lowerdir={':'.join(_linked(own, [*parts, nothing]))}"]
        if mount.asked.read_only:
            options.append("ro")
        else:
            shutil.copystat(parts[0] if parts else nothing, upper)
            options += [f"upperdir={upper}", f"workdir={work}"]
        return oci.Mount(
            destination=mount.target, type="overlay", source="overlay", options=options
        )

    def _parts(self, source: Source) -> list[Path]:
        """Where the files lie, topmost first."""
        if isinstance(source.tree, Rootfs):
            return source.tree.parts(source.path)
        with self._unpacking:
            known = self._unpacked.get(source.path)
            if known is None:
                known = self._scratch() / f"context-{len(self._unpacked)}"
                copy_tree(source.tree, source.path, known)
                self._unpacked[source.path] = known
            return [known]


def _source(
    asked: syntax.RunMount, path: str, origin: Callable[[str], tuple[FileTree, str]]
) -> Source:
    tree, name = origin(asked.origin)
    resolved = resolve(tree, path)
    entry = tree.entry(resolved)
    if resolved and entry is None:
        raise BuildError(f"RUN --mount: {path!r} is not in {name}")
    if entry is not None and entry.kind not in (Kind.FILE, Kind.DIRECTORY):
        raise BuildError(f"RUN --mount: {path!r} is neither a file nor a directory")
    assert isinstance(tree, Rootfs | ArchiveTree)
    return Source(tree, resolved)


def _bind(source: Path, mount: Mount) -> oci.Mount:
    access = "ro" if mount.asked.read_only else "rw"
    return oci.Mount(
        destination=mount.target,
        type="bind",
        source=str(source),
        options=["bind", "rprivate", access],
    )


def _linked(own: Path, parts: Sequence[Path]) -> list[str]:
    """`parts` by links in `own`: a colon or comma in a name of the stage's would be another folder
    or option of overlay's, wherever on this machine it leads."""
    links = [own / str(number) for number in range(len(parts))]
    for link, part in zip(links, parts, strict=True):
        link.symlink_to(part)
    return [str(link) for link in links]


def _tmpfs(mount: Mount) -> oci.Mount:
    options = ["nosuid", "nodev"]
    if mount.size:
        options.append(f"size={mount.size}")
    return oci.Mount(destination=mount.target, type="tmpfs", source="tmpfs", options=options)


def _own(folder: Path, mount: Mount) -> None:
    try:
        os.chown(folder, mount.uid, mount.gid)
    except OSError as error:
        message = f"RUN --mount: uid={mount.uid},gid={mount.gid}: {error.strerror}"
        hint = "without root, only the ids of /etc/subuid and /etc/subgid can be had"
        raise BuildError(f"{message}: {hint}") from None


def _number(name: str, text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > _MAX_ID:
        raise BuildError(f"RUN --mount: {name}={text[:40]}: a number is needed")
    return int(text)


def _bytes(text: str) -> int:
    if not text:
        return 0
    match = _SIZE.fullmatch(text.lower())
    if match is None or len(match.group(1)) > 15:
        raise BuildError(f"RUN --mount: size={text}: bytes are needed, like 64m")
    return int(match.group(1)) << _UNITS[match.group(2)]
