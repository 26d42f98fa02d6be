"""Two small modules between a guest and the WASI functions that take paths, as text.

A guest cannot be given a host function that calls the original WASI function: that wants a caller
with the guest's memory. So the front faces the guest, asks the host which descriptor a path is
meant to be resolved from, and calls through a table; the back, linked once the guest and its memory
exist, fills the table with functions that call the originals.
"""

import contextlib
import os

ROOT = 3
"""The descriptor of the first preopened directory, "/"."""

_P1 = "wasi_snapshot_preview1"

FUNCTIONS: dict[str, tuple[str, tuple[tuple[int, int], ...]]] = {
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

_TYPES = {"i": "i32", "I": "i64"}


def front() -> str:
    """The module that faces the guest, as text. It imports `wherry.pick`, exports `table`."""
    lines = [
        "(module",
        '  (import "wherry" "pick" (func $pick (param i32 i32) (result i32)))',
        f'  (table (export "table") {len(FUNCTIONS)} funcref)',
    ]
    for index, (name, (parameters, paths)) in enumerate(FUNCTIONS.items()):
        picks = dict(paths)
        values = [
            f"(call $pick_below (local.get {position}) (local.get {picks[position]})"
            f" (local.get {picks[position] + 1}))"
            if position in picks
            else f"(local.get {position})"
            for position in range(len(parameters))
        ]
        kind = " ".join(_TYPES[letter] for letter in parameters)
        lines.append(
            f'  (func (export "{name}") (param {kind}) (result i32)'
            f" (call_indirect (param {kind}) (result i32) {' '.join(values)} (i32.const {index})))"
        )
    lines.append(
        "  (func $pick_below (param $fd i32) (param $path i32) (param $length i32) (result i32)"
        f" (if (result i32) (i32.eq (local.get $fd) (i32.const {ROOT}))"
        " (then (call $pick (local.get $path) (local.get $length)))"
        " (else (local.get $fd)))))"
    )
    return "\n".join(lines)


def back() -> str:
    """The module that calls the originals, as text. It fills the front's table."""
    lines = [
        "(module",
        f'  (import "wherry" "table" (table {len(FUNCTIONS)} funcref))',
        '  (import "guest" "memory" (memory 0))',
    ]
    for name, (parameters, _) in FUNCTIONS.items():
        kind = " ".join(_TYPES[letter] for letter in parameters)
        lines.append(f'  (import "{_P1}" "{name}" (func ${name} (param {kind}) (result i32)))')
    lines.append('  (export "memory" (memory 0))')
    bodies = []
    for name, (parameters, _) in FUNCTIONS.items():
        kind = " ".join(_TYPES[letter] for letter in parameters)
        values = " ".join(f"(local.get {position})" for position in range(len(parameters)))
        # A call from this module's own code, so that this module's memory is the caller's.
        bodies.append(f"  (func $back_{name} (param {kind}) (result i32) (call ${name} {values}))")
    lines += bodies
    lines.append(f"  (elem (i32.const 0) {' '.join(f'$back_{name}' for name in FUNCTIONS)}))")
    return "\n".join(lines)


def write(folder: str) -> tuple[str, str]:
    """Write both modules below `folder`, for the compiler to read; returns their paths."""
    paths = (f"{folder}/workdir-front.wat", f"{folder}/workdir-back.wat")
    for path, text in zip(paths, (front(), back()), strict=True):
        with contextlib.suppress(FileNotFoundError), open(path) as file:
            if file.read() == text:
                continue
        os.makedirs(folder, mode=0o700, exist_ok=True)  # the zygote may be faster than its parent
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w") as file:
            file.write(text)
        os.rename(temporary, path)
    return paths
