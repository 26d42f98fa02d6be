"""What the shim itself reads from a bundle, and the note it leaves there."""

import os
from typing import NamedTuple

import msgspec

from wherry import oci
from wherry.oci.runtime import PROGRAMS, ConsoleSize
from wherry.pids import process_start
from wherry.shim.places import TASK_NOTE

TIMEOUT = "io.wherry.timeout"
"""Annotation: after how many seconds the container is stopped (`--timeout`)."""

_MAX_CONFIG = 16 << 20


class BundleError(Exception):
    """The bundle is not fit to be run. The message is one line."""


class _Process(msgspec.Struct, rename="camel"):
    args: list[str] | None = None
    console_size: ConsoleSize | None = None


class _Config(msgspec.Struct):
    process: _Process | None = None
    annotations: dict[str, str] | None = None


class Wishes(NamedTuple):
    """What a bundle asks of the shim: seconds it may run; columns and rows of its terminal; its
    program, and whether that may be Wasm only.
    """

    seconds: float | None
    size: tuple[int, int]
    program: str
    wasm_only: bool


def read_wishes(bundle: str) -> Wishes:
    """Read a bundle's config.json. Raises BundleError."""
    path = f"{bundle}/config.json"
    try:
        config = oci.decode(_read(path), _Config, path, _MAX_CONFIG)
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from None
    except oci.InvalidDocument as error:
        raise BundleError(str(error)) from None
    process = config.process or _Process()
    size = process.console_size
    annotations = config.annotations or {}
    return Wishes(
        _parse_seconds(annotations.get(TIMEOUT)),
        (0, 0) if size is None else (max(0, size.width), max(0, size.height)),
        process.args[0] if process.args else "",
        annotations.get(PROGRAMS) == "wasm",
    )


def leave_note(bundle: str, pid: int, cgroup: str) -> None:
    """Note in the bundle what is to be cleaned up should this shim die before its task is deleted.

    Raises OSError.
    """
    note = f"{pid} {process_start(pid)} {cgroup}"
    path = f"{bundle}/{TASK_NOTE}"
    try:
        os.symlink(note, path)
    except FileExistsError:
        os.unlink(path)
        os.symlink(note, path)


def remove_note(bundle: str) -> None:
    """The task is deleted: nothing is left to be cleaned up."""
    try:
        os.unlink(f"{bundle}/{TASK_NOTE}")
    except OSError:
        return


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # A buffer as large as the limit would cost more than all the rest.
        return os.read(descriptor, min(os.fstat(descriptor).st_size, _MAX_CONFIG) + 1)
    finally:
        os.close(descriptor)


def _parse_seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise BundleError(f"annotation {TIMEOUT}: {text[:40]!r} is not a number of seconds")
    return seconds
