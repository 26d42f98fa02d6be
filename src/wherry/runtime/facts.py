"""What the compiler finds out about a module that decides how it is run, kept with its code."""

from typing import Literal

import msgspec

NEEDS_PROGRAM = 3
"""Status of the compiler's process if the module needs the `wasmtime` command and there is none."""


class Facts(msgspec.Struct, frozen=True):
    """Known once a module is compiled, and kept with its code."""

    component: bool
    sockets: bool
    """Whether it imports sockets."""
    reads_pwd: bool
    """Whether its language takes the working directory from PWD."""
    world: Literal["command", "http"]
    """Whether it is run once, or answers requests by HTTP."""
    files: bool
    """Whether it imports a file system."""
    hosted: bool
    """Whether only the `wasmtime` command can run it (see `engines.host`)."""
    socket_imports: tuple[tuple[str, str], ...] = ()
    """Names and parameters (`i` is i32, `I` is i64) of the functions about sockets that a module of
    WASI 0.1 imports: the ABI of some of them shows in their types alone."""


class Entry(msgspec.Struct):
    """What is written down about a file of code: by this it is known again."""

    inode: int
    size: int
    """In bytes."""
    sha256: str
    facts: Facts


def mode_of(facts: Facts) -> int:
    """Of a file of code. A program opens it itself, as the user that the container has."""
    return 0o644 if facts.hosted else 0o600
