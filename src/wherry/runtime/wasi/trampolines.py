"""Two small modules between a guest and the functions of WASI 0.1, as text.

A guest cannot be given a host function that calls the original WASI function: that wants a caller
with the guest's memory. So the front faces the guest. It asks the host about a call, or whose
business its descriptor is, and calls through a table; the back, linked once the guest and its
memory exist, fills the table with functions that call the originals.
"""

import contextlib
import os
from typing import NamedTuple

from wherry.runtime.wasi import errnos

ROOT = 3
"""The descriptor of the first preopened directory, "/", where nothing is preopened before it."""

ORIGINALS, HOSTED, PICKED = range(3)
"""What the front's memory says of a descriptor below NUMBERS: calls for it go to the original or to
the host; or it is the root directory, and the host picks the descriptor a path is meant for."""

NUMBERS = 0x10000
"""All descriptors from here on are the host's."""

_P1 = "wasi_snapshot_preview1"

PATHS: dict[str, tuple[str, tuple[tuple[int, int], ...]]] = {
    # name: parameters, and for each path the positions of its descriptor and of its pointer
    "path_create_directory": ("iii", ((0, 1),)),
    "path_filestat_get": ("iiiii", ((0, 2),)),
    "path_filestat_set_times": ("iiiiIIi", ((0, 2),)),
    "path_link": ("iiiiiii", ((0, 2), (4, 5))),
    "path_open": ("iiiiiIIii", ((0, 2),)),
    "path_readlink": ("iiiiii", ((0, 1),)),
    "path_remove_directory": ("iii", ((0, 1),)),
    "path_rename": ("iiiiii", ((0, 1), (3, 4))),
    "path_symlink": ("iiiii", ((2, 3),)),
    "path_unlink_file": ("iii", ((0, 1),)),
}

DESCRIPTORS: dict[str, tuple[str, tuple[int, ...], int | None]] = {
    # name: parameters, positions of descriptors, and what the host's are told, if always the same
    "fd_advise": ("iIIi", (0,), errnos.SPIPE),
    "fd_allocate": ("iII", (0,), errnos.SPIPE),
    "fd_close": ("i", (0,), None),
    "fd_datasync": ("i", (0,), errnos.INVAL),
    "fd_fdstat_get": ("ii", (0,), None),
    "fd_fdstat_set_flags": ("ii", (0,), None),
    "fd_fdstat_set_rights": ("iII", (0,), errnos.NOTSUP),
    "fd_filestat_get": ("ii", (0,), None),
    "fd_filestat_set_size": ("iI", (0,), errnos.INVAL),
    "fd_filestat_set_times": ("iIIi", (0,), errnos.INVAL),
    "fd_pread": ("iiiIi", (0,), errnos.SPIPE),
    "fd_prestat_dir_name": ("iii", (0,), errnos.NOTDIR),
    "fd_prestat_get": ("ii", (0,), None),
    "fd_pwrite": ("iiiIi", (0,), errnos.SPIPE),
    "fd_read": ("iiii", (0,), None),
    "fd_readdir": ("iiiIi", (0,), errnos.NOTDIR),
    "fd_renumber": ("ii", (0, 1), None),
    "fd_seek": ("iIii", (0,), errnos.SPIPE),
    "fd_sync": ("i", (0,), errnos.INVAL),
    "fd_tell": ("ii", (0,), errnos.SPIPE),
    "fd_write": ("iiii", (0,), None),
}

ALONE: dict[str, str] = {"clock_time_get": "iIi"}
"""Originals that only the host calls."""

_TYPES = {"i": "i32", "I": "i64"}


class Variant(NamedTuple):
    """What trampolines are for."""

    workdir: bool
    """To resolve paths from a working directory."""
    sockets: bool
    """To let the host answer for descriptors of its own."""

    @property
    def functions(self) -> dict[str, str]:
        """Parameters of the functions in the table, by name."""
        functions = {name: parameters for name, (parameters, _) in PATHS.items()}
        if self.sockets:
            functions |= {name: parameters for name, (parameters, *_) in DESCRIPTORS.items()}
            functions |= ALONE
        return functions

    @property
    def name(self) -> str:
        """The variant in a word."""
        return "-".join(word for word, used in self._asdict().items() if used)


VARIANTS = (Variant(True, False), Variant(False, True), Variant(True, True))


def front(variant: Variant) -> str:
    """The module that faces the guest, as text.

    It imports from `wherry` what it asks the host: `pick`, `refuse` and the functions for the
    host's own descriptors. It exports `table`, and with sockets a memory, `descriptors`.
    """
    lines = ["(module"]
    if variant.workdir:
        lines.append('  (import "wherry" "pick" (func $pick (param i32 i32) (result i32)))')
    if variant.sockets:
        lines.append('  (import "wherry" "refuse" (func $refuse (param i32 i32) (result i32)))')
        lines += [
            f'  (import "wherry" "{name}" (func $host_{name} (param {_kinds(parameters)})'
            " (result i32)))"
            for name, (parameters, _, always) in DESCRIPTORS.items()
            if always is None
        ]
    names = list(variant.functions)
    lines.append(f'  (table (export "table") {len(names)} funcref)')
    lines += [_path_function(variant, name, names.index(name)) for name in PATHS]
    if variant.sockets:
        lines += [_descriptor_function(name, names.index(name)) for name in DESCRIPTORS]
        lines.append(
            '  (memory (export "descriptors") 1 1)'
            " (func $whose (param $fd i32) (result i32)"
            f" (if (result i32) (i32.lt_u (local.get $fd) (i32.const {NUMBERS}))"
            " (then (i32.load8_u (local.get $fd)))"
            f" (else (i32.const {HOSTED}))))"
        )
    if variant.workdir:
        is_root = (
            f"(i32.eq (call $whose (local.get $fd)) (i32.const {PICKED}))"
            if variant.sockets
            else f"(i32.eq (local.get $fd) (i32.const {ROOT}))"
        )
        lines.append(
            "  (func $pick_below (param $fd i32) (param $path i32) (param $length i32) (result i32)"
            f" (if (result i32) {is_root}"
            " (then (call $pick (local.get $path) (local.get $length)))"
            " (else (local.get $fd))))"
        )
    return "\n".join([*lines, ")"])


def _path_function(variant: Variant, name: str, index: int) -> str:
    parameters, paths = PATHS[name]
    picks = dict(paths) if variant.workdir else {}
    values = [
        f"(call $pick_below (local.get {position}) (local.get {picks[position]})"
        f" (local.get {picks[position] + 1}))"
        if position in picks
        else f"(local.get {position})"
        for position in range(len(parameters))
    ]
    checks = [
        _if_hosted(position, f"(call $refuse (local.get {position}) (i32.const {errnos.NOTDIR}))")
        for position, _ in paths
        if variant.sockets
    ]
    return _function(name, parameters, checks, values, index)


def _descriptor_function(name: str, index: int) -> str:
    parameters, positions, always = DESCRIPTORS[name]
    values = [f"(local.get {position})" for position in range(len(parameters))]
    answer = (
        f"(call $host_{name} {' '.join(values)})"
        if always is None
        else f"(call $refuse (local.get 0) (i32.const {always}))"
    )
    checks = [_if_hosted(position, answer) for position in positions]
    return _function(name, parameters, checks, values, index)


def _if_hosted(position: int, answer: str) -> str:
    hosted = f"(i32.eq (call $whose (local.get {position})) (i32.const {HOSTED}))"
    return f" (if {hosted} (then (return {answer})))"


def _function(name: str, parameters: str, checks: list[str], values: list[str], index: int) -> str:
    kinds = _kinds(parameters)
    return (
        f'  (func (export "{name}") (param {kinds}) (result i32){"".join(checks)}'
        f" (call_indirect (param {kinds}) (result i32) {' '.join(values)} (i32.const {index})))"
    )


def back(variant: Variant) -> str:
    """The module that calls the originals, as text. It fills the front's table.

    It exports its functions for the host to call.
    """
    functions = variant.functions
    lines = [
        "(module",
        f'  (import "wherry" "table" (table {len(functions)} funcref))',
        '  (import "guest" "memory" (memory 0))',
    ]
    bodies = []
    for name, parameters in functions.items():
        kinds = _kinds(parameters)
        lines.append(f'  (import "{_P1}" "{name}" (func ${name} (param {kinds}) (result i32)))')
        values = " ".join(f"(local.get {position})" for position in range(len(parameters)))
        # A call from this module's own code, so that this module's memory is the caller's.
        bodies.append(
            f'  (func $back_{name} (export "{name}") (param {kinds}) (result i32)'
            f" (call ${name} {values}))"
        )
    lines.append('  (export "memory" (memory 0))')
    lines += bodies
    lines.append(f"  (elem (i32.const 0) {' '.join(f'$back_{name}' for name in functions)}))")
    return "\n".join(lines)


def _kinds(parameters: str) -> str:
    return " ".join(_TYPES[letter] for letter in parameters)


def write(folder: str, variant: Variant) -> tuple[str, str]:
    """Write both modules below `folder`, for the compiler to read; returns their paths."""
    paths = (f"{folder}/{variant.name}-front.wat", f"{folder}/{variant.name}-back.wat")
    for path, text in zip(paths, (front(variant), back(variant)), strict=True):
        with contextlib.suppress(FileNotFoundError), open(path) as file:
            if file.read() == text:
                continue
        os.makedirs(folder, mode=0o700, exist_ok=True)  # the zygote may be faster than its parent
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w") as file:
            file.write(text)
        os.rename(temporary, path)
    return paths
