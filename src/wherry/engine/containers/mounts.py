"""What a container has mounted: from what people ask for to what is to be done.

Docker's rules: `-v /host:/path` makes a missing source, `--mount type=bind` does not;
`-v name:/path` makes a missing volume; `-v /path` and an image's VOLUME make anonymous ones, unless
something else is mounted there.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping

from wherry.engine.config import HostConfig, MountRequest
from wherry.engine.errors import InvalidRequest
from wherry.engine.record import Mounted
from wherry.engine.volumes import VOLUME_NAME

_PROPAGATION = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_ACCESS = frozenset({"ro", "rw"})
_LABELS = frozenset({"z", "Z"})
_CONSISTENCY = frozenset({"consistent", "cached", "delegated"})
_TMPFS_OPTION = re.compile(
    r"(rw|ro|(no)?(suid|dev|exec|atime|diratime)|relatime|strictatime|sync|async|defaults"
    r"|(size|nr_blocks|nr_inodes)=\d+[kKmMgG%]?|mode=[0-7]+|(uid|gid)=\d+)"
)


def plan_mounts(
    host: HostConfig, volumes: Iterable[str], inherited: Iterable[Mounted] = ()
) -> list[Mounted]:
    """All mounts of a container, parents before what lies in them.

    `volumes` are destinations of anonymous volumes (of the image, and of `-v /path`), `inherited`
    what `--volumes-from` brings. Raises InvalidRequest.
    """
    asked: dict[str, Mounted] = {}
    for mount in (
        *(_parse_bind(text) for text in host.binds or ()),
        *(_from_request(request) for request in host.mounts or ()),
        *_from_tmpfs(host.tmpfs or {}),
    ):
        if mount.destination in asked:
            raise InvalidRequest(f"Duplicate mount point: {mount.destination}")
        asked[mount.destination] = mount
    for mount in inherited:
        asked.setdefault(mount.destination, mount)
    for path in volumes:
        destination = _destination(path, path)
        asked.setdefault(destination, Mounted(type="volume", destination=destination))
    return sorted(asked.values(), key=lambda mount: mount.destination.count("/"))


def _parse_bind(text: str) -> Mounted:
    parts = text.split(":")
    if len(parts) == 1:
        return Mounted(type="volume", destination=_destination(text, text))
    if len(parts) > 3 or not parts[0] or not parts[1]:
        raise InvalidRequest(f"invalid volume specification: '{text}'")
    source, destination = parts[0], _destination(parts[1], text)
    mode = parts[2] if len(parts) == 3 else ""
    options = [option for option in mode.split(",") if option]
    known = _ACCESS | _LABELS | _CONSISTENCY | _PROPAGATION | {"nocopy"}
    if (not options and mode) or any(option not in known for option in options):
        raise InvalidRequest(f"invalid mode: {mode}")
    if len(_ACCESS & set(options)) > 1 or len(_PROPAGATION & set(options)) > 1:
        raise InvalidRequest(f"invalid mode: {mode}")
    mount = Mounted(type="volume", destination=destination, read_only="ro" in options, mode=mode)
    propagation = next((option for option in options if option in _PROPAGATION), "")
    if source.startswith("/"):
        if "nocopy" in options:
            raise InvalidRequest(f"invalid mode: {mode}: nocopy is for volumes")
        mount.type, mount.source = "bind", _clean(source, text)
        mount.create_source, mount.propagation = True, propagation or "rprivate"
        return mount
    if propagation:
        raise InvalidRequest(f"invalid mode: {mode}: propagation is for bind mounts")
    if not VOLUME_NAME.fullmatch(source):
        raise InvalidRequest(
            f'"{source[:100]}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )
    mount.name, mount.copy = source, "nocopy" not in options
    mount.mode = mode or "z"
    return mount


def _from_request(request: MountRequest) -> Mounted:
    if not request.target:
        raise _wrong(request, "field Target must not be empty")
    mount = Mounted(
        type=request.type,
        destination=_destination(request.target, request.target),
        read_only=request.read_only,
    )
    for given, kind, name in (
        (request.bind_options, "bind", "BindOptions"),
        (request.volume_options, "volume", "VolumeOptions"),
        (request.tmpfs_options, "tmpfs", "TmpfsOptions"),
        (request.image_options, "image", "ImageOptions"),
    ):
        if given is not None and kind != request.type:
            raise _wrong(request, f"field {name} must not be specified")
    fill = _KINDS.get(request.type)
    if fill is None:
        raise InvalidRequest(
            f"mount type unknown: {request.type!r}: there are bind, volume, tmpfs and image"
        )
    fill(mount, request)
    return mount


def _wrong(request: MountRequest, reason: str) -> InvalidRequest:
    return InvalidRequest(f'invalid mount config for type "{request.type}": {reason}')


def _fill_bind(mount: Mounted, request: MountRequest) -> None:
    if not request.source:
        raise _wrong(request, "field Source must not be empty")
    if not request.source.startswith("/"):
        reason = f"invalid mount path: '{request.source}' mount path must be absolute"
        raise _wrong(request, reason)
    mount.source = _clean(request.source, request.source)
    mount.propagation = "rprivate"
    if options := request.bind_options:
        if options.propagation and options.propagation not in _PROPAGATION:
            raise _wrong(request, f"invalid propagation mode: {options.propagation}")
        mount.propagation = options.propagation or "rprivate"
        mount.recursive = not options.non_recursive
        mount.create_source = options.create_mountpoint


def _fill_volume(mount: Mounted, request: MountRequest) -> None:
    if request.source and not VOLUME_NAME.fullmatch(request.source):
        raise _wrong(request, f"invalid volume name: {request.source[:100]}")
    mount.name, mount.mode = request.source, "z"
    if options := request.volume_options:
        _check_driver(options.driver_config.name if options.driver_config else "")
        mount.copy = not options.no_copy
        mount.labels = options.labels or {}
        if options.subpath and not mount.name:
            raise _wrong(request, "must not set Subpath when using anonymous volumes")
        mount.subpath = _subpath(options.subpath, request)


def _fill_tmpfs(mount: Mounted, request: MountRequest) -> None:
    if request.source:
        raise _wrong(request, "field Source must not be specified")
    mount.options = ["nosuid", "nodev", "noexec"]
    if tmpfs := request.tmpfs_options:
        if tmpfs.size_bytes:
            mount.options.append(f"size={tmpfs.size_bytes}")
        if tmpfs.mode:
            mount.options.append(f"mode={tmpfs.mode:o}")
        for words in tmpfs.options or ():
            option = "=".join(words)
            if len(words) > 2 or not _TMPFS_OPTION.fullmatch(option):
                raise _wrong(request, f"invalid option {option!r}")
            mount.options.append(option)


def _fill_image(mount: Mounted, request: MountRequest) -> None:
    if not request.source:
        raise _wrong(request, "field Source must not be empty")
    mount.name, mount.read_only, mount.propagation = request.source, True, "rprivate"
    if options := request.image_options:
        mount.subpath = _subpath(options.subpath, request)


_KINDS: dict[str, Callable[[Mounted, MountRequest], None]] = {
    "bind": _fill_bind,
    "volume": _fill_volume,
    "tmpfs": _fill_tmpfs,
    "image": _fill_image,
}


def _subpath(path: str, request: MountRequest) -> str:
    """A part of a volume or an image, in which it has to lie, links aside."""
    normal = posixpath.normpath(path)
    if normal.startswith("/") or normal.split("/")[0] == ".." or "\0" in path:
        raise _wrong(request, f"invalid subpath {path!r}: it must lie in the {request.type}")
    return path


def _from_tmpfs(tmpfs: Mapping[str, str]) -> Iterable[Mounted]:
    for path, text in tmpfs.items():
        options = [option for option in text.split(",") if option]
        for option in options:
            if not _TMPFS_OPTION.fullmatch(option):
                raise InvalidRequest(f"invalid tmpfs option {option!r} for {path}")
        read_only = "ro" in options
        yield Mounted(
            type="tmpfs",
            destination=_destination(path, path),
            read_only=read_only,
            mode=text,
            options=["nosuid", "nodev", "noexec", *options],
        )


def _check_driver(name: str) -> None:
    if name not in ("", "local"):
        raise InvalidRequest(f"volume driver {name!r} is not installed: there is only local")


def _destination(path: str, whole: str) -> str:
    if not path.startswith("/"):
        raise InvalidRequest(
            f"invalid volume specification: '{whole}': invalid mount path: '{path}' mount path "
            "must be absolute"
        )
    clean = _clean(path, whole)
    if clean == "/":
        raise InvalidRequest(f"invalid volume specification: '{whole}': destination can't be '/'")
    return clean


def _clean(path: str, whole: str) -> str:
    if "\0" in path:
        raise InvalidRequest(f"invalid volume specification: {whole!r}: a NUL byte")
    # normpath keeps two leading slashes, which POSIX allows to be special.
    return "/" + posixpath.normpath(path).lstrip("/")
