"""Whether what a container runs has any use for a network, told before it is started.

A module that imports no sockets could not use an interface, so it gets none. What cannot be told
(a program in a volume, behind a link, a Linux program) counts as one that can. What an image's file
is does not change, so it is looked at once.
"""

import asyncio
import os
import stat
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from wherry import wasm
from wherry.engine.record import Record

if TYPE_CHECKING:
    from wherry.wasm import WasmFile

_REMEMBERED = 4096
_TEXT = 1 << 20
"""Bytes of a text (.wat) that are searched; what is longer may say anything."""
_HEAD = 4096
"""Bytes in which a text is told from anything else; it may begin with comments."""
_WORDS = (b"sock_", b"wasi:sockets", b"wasi:http")
_PATH = "PATH=/usr/local/bin:/usr/bin:/bin"
_SERVED = frozenset({"wasi-http-server"})


class Use(Enum):
    """What a program does with a network."""

    NEVER = "has no way to use one"
    LISTENERS = "accepts connections of sockets that it is given"
    ALWAYS = "opens sockets, or may"


class Programs:
    """Looks at programs, and remembers what it found."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], Use] = {}

    async def wants_network(self, record: Record, upper: Path, *, has_ports: bool) -> bool:
        """Whether the container is to be given interfaces; `upper` is what it has written."""
        use = await self._use(record, upper)
        return use is Use.ALWAYS or (use is Use.LISTENERS and has_ports)

    async def _use(self, record: Record, upper: Path) -> Use:
        if not record.is_wasm:
            return Use.ALWAYS
        candidates = _candidates(record)
        mounted = tuple(f"{mount.destination}/".lstrip("/") for mount in record.mounts)
        if any(f"{path}/".startswith(mounted) for path in candidates):
            return Use.ALWAYS
        if _may_have(upper, candidates):
            layers = (str(upper), *record.layers)
            return await asyncio.to_thread(_look, candidates, layers)
        key = (record.image_id, *candidates)
        found = self._found.get(key)
        if found is None:
            found = await asyncio.to_thread(_look, candidates, record.layers)
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[key] = found
        return found


def _candidates(record: Record) -> list[str]:
    """Where the runtime looks for the program, in its order; relative to the root."""
    name, config = record.args[0], record.config
    paths = [name]
    if not name.startswith("/"):
        paths = [os.path.join(config.working_dir or "/", name), f"/{name}"]
        if "/" not in name:
            given = (entry for entry in config.env or () if entry.startswith("PATH="))
            folders = next(given, _PATH).removeprefix("PATH=").split(":")
            paths += [os.path.join(folder, name) for folder in folders if folder]
    return [os.path.normpath(f"/{path}").lstrip("/") for path in paths]


def _may_have(layer: Path, candidates: Iterable[str]) -> bool:
    """Whether it has at least the beginning of one of them."""
    return any(os.path.lexists(layer / path.partition("/")[0]) for path in candidates)


def _look(candidates: Iterable[str], layers: Iterable[str]) -> Use:
    """What the first of `candidates` that is there does; `layers` come topmost first."""
    for path in candidates:
        for layer in layers:
            try:
                found = _open(layer, path)
            except FileNotFoundError:
                continue
            except OSError:
                return Use.ALWAYS
            if found is None:
                return Use.ALWAYS
            with open(found, "rb") as file:
                if wasm.sniff(os.pread(file.fileno(), _HEAD, 0)) is None:
                    return Use.NEVER  # it is not run, either
                try:
                    program = wasm.inspect(file)
                    return (
                        _use_of_text(file.fileno()) if program.kind == "text" else _use_of(program)
                    )
                except (wasm.InvalidWasm, OSError):
                    return Use.ALWAYS
    return Use.NEVER  # there is no such program: its start fails


def _open(layer: str, path: str) -> int | None:
    """The file, or None if it is none; FileNotFoundError says to look below.

    Links are not followed: one of a hostile image must not lead out of it, and the layer that has
    what an honest one leads to is not known here. They raise OSError.
    """
    folder = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    *parents, name = path.split("/")
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        for part in parents:
            inner = os.open(part, flags, dir_fd=folder)
            os.close(folder)
            folder = inner
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return None
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)


def _use_of(program: "WasmFile") -> Use:
    if program.imports_sockets or not program.needs.isdisjoint(_SERVED):
        return Use.ALWAYS
    accepts = any(item.name == "sock_accept" for file in program.walk() for item in file.imports)
    return Use.LISTENERS if accepts else Use.NEVER


def _use_of_text(file: int) -> Use:
    text = os.pread(file, _TEXT + 1, 0)
    if len(text) > _TEXT or any(word in text for word in _WORDS):
        return Use.ALWAYS
    return Use.NEVER
