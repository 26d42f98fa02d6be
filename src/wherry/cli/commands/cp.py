"""`cp`: files between a container and this machine."""

from __future__ import annotations

import os
import stat

from wherry.cli.command import Command
from wherry.cli.errors import CommandError
from wherry.cli.flags import switch
from wherry.client import DaemonError, json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_GO_FOLDER = 1 << 31
_GO_SYMLINK = 1 << 27
_PORTION = 1 << 18


def _cp(session: Session, arguments: Arguments) -> int:
    source, target = arguments.words
    from_container, source_path = _split(source)
    to_container, target_path = _split(target)
    if from_container and to_container:
        raise CommandError("from one container to another is not possible; take two steps")
    if from_container:
        return _download(session, arguments, from_container, source_path, target)
    if to_container:
        return _upload(session, arguments, source, to_container, target_path)
    raise CommandError("one of the two must be in a container: CONTAINER:PATH")


def _split(text: str) -> tuple[str, str]:
    """`CONTAINER:PATH` in two; no container for a path of this machine (`./a:b`, `/a:b`)."""
    container, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")):
        return "", text
    return container, path


def _asserted(path: str) -> bool:
    """Whether a path says that it is a folder."""
    return path.endswith(("/", "/.")) or path in ("", ".")


def _status(session: Session, container: str, path: str) -> Any:
    """What is at a path of a container: name, size, mode (Go's bits), linkTarget."""
    import binascii

    query = {"path": path or "/"}
    target = f"/containers/{container}/archive"
    try:
        response = session.client.request("HEAD", target, query)
    except DaemonError:
        # An answer to HEAD has no words; the same question as GET is refused with some.
        session.client.request("GET", target, query).connection.close()
        raise
    return json.decode(binascii.a2b_base64(response.headers["x-docker-container-path-stat"]))


def _download(
    session: Session, arguments: Arguments, container: str, path: str, target: str
) -> int:
    status = _status(session, container, path)
    if arguments.switch("follow-link") and status["mode"] & _GO_SYMLINK:
        path = status["linkTarget"]
        status = _status(session, container, path)
    query = {"path": path or "/"}
    if target == "-":
        from wherry.cli.terminal import write_all

        response = session.client.request("GET", f"/containers/{container}/archive", query)
        for data in response:
            write_all(1, data)
        return 0
    from wherry.client.unpack import unpack

    is_folder = bool(status["mode"] & _GO_FOLDER)
    place = _local_place(path, target, is_folder=is_folder)
    response = session.client.request("GET", f"/containers/{container}/archive", query)
    owners = arguments.switch("archive")
    size = unpack(iter(response), place, owners=owners, complain=session.complain)
    _tell(arguments, size, target)
    return 0


def _local_place(path: str, target: str, *, is_folder: bool) -> str:
    """The path the copied file or folder gets here. Raises `CommandError`."""
    place = os.path.realpath(target)
    base = os.path.basename(os.path.normpath(path)) if path else ""
    if os.path.isdir(place):
        contents = is_folder and (path.endswith("/.") or base in ("", "/", "."))
        place = place if contents else os.path.join(place, base)
        if os.path.isdir(place) and not is_folder and not os.path.islink(place):
            raise CommandError(f"{place} is a folder, the source is a file")
        return place
    if os.path.lexists(place):
        if is_folder:
            raise CommandError(f"{target} is a file, the source is a folder")
    elif _asserted(target) and not is_folder:
        raise CommandError(f"{target}: no such folder")
    if not os.path.isdir(os.path.dirname(place)):
        raise CommandError(f"{os.path.dirname(place)}: no such folder")
    return place


def _upload(session: Session, arguments: Arguments, source: str, container: str, path: str) -> int:
    query: dict[str, object] = {
        "noOverwriteDirNonDir": True,
        "copyUIDGID": arguments.switch("archive"),
    }
    headers = ("Content-Type: application/x-tar",)
    target = f"/containers/{container}/archive"
    if source == "-":
        query["path"] = path or "/"
        session.client.request("PUT", target, query, _stdin(), headers).read()
        return 0
    follow = arguments.switch("follow-link")
    try:
        status = os.stat(source) if follow or _asserted(source) else os.lstat(source)
    except FileNotFoundError:
        raise CommandError(f"{source}: no such file") from None
    is_folder = stat.S_ISDIR(status.st_mode)
    if _asserted(source) and not is_folder:
        raise CommandError(f"{source}: not a folder")
    query["path"], name = _container_place(session, container, path, source, is_folder=is_folder)
    from wherry.client.tree import pack
    from wherry.tar_header import END

    sent = [0]

    def stream() -> Iterator[bytes]:
        follows = follow or _asserted(source)
        for portion in pack(source, name, owners=arguments.switch("archive"), follow=follows):
            sent[0] += len(portion)
            yield portion
        yield END

    session.client.request("PUT", target, query, stream(), headers).read()
    _tell(arguments, sent[0], f"{container}:{path}")
    return 0


def _container_place(
    session: Session, container: str, path: str, source: str, *, is_folder: bool
) -> tuple[str, str]:
    """The folder of the container to unpack in, and the name the source gets there."""
    path = path or "/"
    base = os.path.basename(os.path.abspath(source))
    try:
        status = _status(session, container, path)
        if status["mode"] & _GO_SYMLINK:
            path = status["linkTarget"]
            status = _status(session, container, path)
    except DaemonError as error:
        if error.status != 404 or (_asserted(path) and not is_folder):
            raise
        session.client.get(f"/containers/{container}/json")
        return os.path.dirname(path.rstrip("/")) or "/", os.path.basename(path.rstrip("/"))
    if status["mode"] & _GO_FOLDER:
        contents = is_folder and (source.endswith("/.") or source == ".")
        return path, "." if contents else base
    if is_folder:
        raise CommandError(f"{container}:{path} is a file, the source is a folder")
    return os.path.dirname(path) or "/", os.path.basename(path)


def _stdin() -> Iterator[bytes]:
    while data := os.read(0, _PORTION):
        yield data


def _tell(arguments: Arguments, size: int, target: str) -> None:
    if os.isatty(2) and not arguments.switch("quiet"):
        from wherry.cli.units import decimal_size

        os.write(2, f"Successfully copied {decimal_size(size, 3)} to {target}\n".encode())


CP = Command(
    _cp,
    "Copy files between a container and this machine",
    "CONTAINER:PATH PATH|-  or  PATH|- CONTAINER:PATH",
    (
        switch("archive", "a", "Keep owners"),
        switch("follow-link", "L", "Follow a symbolic link that is the source"),
        switch("quiet", "q", "Do not tell how much was copied"),
    ),
    least=2,
    most=2,
    complete=("container:", "container:"),
    detail="A '-' reads a tar archive from stdin, or writes one to stdout.",
    examples=("wherry cp web:/var/log ./log", "tar c conf | wherry cp - web:/etc"),
)
