"""A guest that makes whatever calls of WASI it is told to, in a container.

It reads commands of 16 bytes from stdin: poke (bytes follow), peek (it writes bytes to stdout),
call a function (with arguments that were poked; it writes the result), grow its memory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from collections.abc import AsyncIterator, Iterable

from tests.runtime.bundles import Bundle, reap

from wherry.runtime import Launcher, Process
from wherry.runtime.wasi.trampolines import ALONE, DESCRIPTORS, PATHS

SOCKETS = {
    "sock_open": "iii",
    "sock_bind": "iii",
    "sock_listen": "ii",
    "sock_accept": "iii",
    "sock_connect": "iii",
    "sock_shutdown": "ii",
    "sock_getlocaladdr": "iii",
    "sock_getpeeraddr": "iii",
    "sock_recv": "iiiiii",
    "sock_recv_from": "iiiiiiii",
    "sock_send": "iiiii",
    "sock_send_to": "iiiiiii",
    "sock_getsockopt": "iiiii",
    "sock_setsockopt": "iiiii",
    "sock_getaddrinfo": "iiiiiiii",
}
OLD = {"sock_accept": "ii", "sock_getlocaladdr": "iiii", "sock_recv_from": "iiiiiii"}
"""What differs in the older ABI."""

FUNCTIONS = {
    **{name: parameters for name, (parameters, _) in PATHS.items()},
    **{name: parameters for name, (parameters, *_) in DESCRIPTORS.items()},
    **ALONE,
    "poll_oneoff": "iiii",
    **SOCKETS,
}

POKE, PEEK, CALL, GROW = range(4)
ARGUMENTS = 64
"""Where the arguments of a call lie, 8 bytes each."""
FREE = 4096
"""Where the guest's own memory begins that it does not use."""
PAGES = 2

_TYPES = {"i": "i32", "I": "i64"}


def module(
    functions: dict[str, str] = FUNCTIONS, *, start: str = "", export: str = '"_start"'
) -> str:
    """The guest as text; `start` is what its start section does."""
    names = list(functions)
    lines = ["(module"]
    for name, parameters in functions.items():
        kinds = " ".join(_TYPES[letter] for letter in parameters)
        lines.append(
            f'(import "wasi_snapshot_preview1" "{name}"'
            f" (func ${name} (param {kinds}) (result i32)))"
        )
    lines.append(f'(memory (export "memory") {PAGES}) (type $call (func (result i32)))')
    lines.append(f"(table {len(names)} funcref)")
    lines.append(f"(elem (i32.const 0) {' '.join(f'$call_{name}' for name in names)})")
    for name, parameters in functions.items():
        loads = " ".join(
            f"({_TYPES[letter]}.load (i32.const {ARGUMENTS + 8 * at}))"
            for at, letter in enumerate(parameters)
        )
        lines.append(f"(func $call_{name} (type $call) (call ${name} {loads}))")
    if start:
        lines.append(f"(func $at_start {start}) (start $at_start)")
    lines.append(
        f"""
        (func $each (param $write i32) (param $at i32) (param $size i32) (local $error i32)
          (loop $again
            (if (i32.eqz (local.get $size)) (then (return)))
            (i32.store (i32.const 16) (local.get $at))
            (i32.store (i32.const 20) (local.get $size))
            (local.set $error (if (result i32) (local.get $write)
              (then (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))
              (else (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))))
            (if (local.get $error) (then unreachable))
            (if (i32.eqz (i32.load (i32.const 24))) (then (return)))
            (local.set $at (i32.add (local.get $at) (i32.load (i32.const 24))))
            (local.set $size (i32.sub (local.get $size) (i32.load (i32.const 24))))
            (br $again)))
        (func $one (param $what i32) (param $a i32) (param $b i32)
          (if (i32.eq (local.get $what) (i32.const {POKE}))
            (then (call $each (i32.const 0) (local.get $a) (local.get $b)) (return)))
          (if (i32.eq (local.get $what) (i32.const {PEEK}))
            (then (call $each (i32.const 1) (local.get $a) (local.get $b)) (return)))
          (i32.store (i32.const 32) (if (result i32) (i32.eq (local.get $what) (i32.const {CALL}))
            (then (call_indirect (type $call) (local.get $a)))
            (else (memory.grow (local.get $a)))))
          (call $each (i32.const 1) (i32.const 32) (i32.const 4)))
        (func (export {export})
          (loop $next
            (i32.store (i32.const 12) (i32.const 0))
            (call $each (i32.const 0) (i32.const 0) (i32.const 16))
            (if (i32.eqz (i32.load (i32.const 12))) (then (return)))
            (call $one (i32.load (i32.const 0)) (i32.load (i32.const 4)) (i32.load (i32.const 8)))
            (br $next))))"""
    )
    return "\n".join(lines)


class Hand:
    """Tells the guest what to do, over its pipes."""

    def __init__(self, process: Process, stdin: int, stdout: int) -> None:
        self.process = process
        self._stdin = stdin
        self._stdout = stdout
        self._names = list(FUNCTIONS)
        self._top = FREE

    def poke(self, address: int, data: bytes) -> None:
        """Write into its memory."""
        self._tell(POKE, address, len(data), data)

    def peek(self, address: int, size: int) -> bytes:
        """Read from its memory."""
        self._tell(PEEK, address, size)
        return self._take(size)

    def call(self, name: str, *arguments: int) -> int:
        """Call a function; the result."""
        words = [argument & 0xFFFFFFFFFFFFFFFF for argument in arguments]
        self.poke(ARGUMENTS, struct.pack(f"<{len(words)}Q", *words))
        self._tell(CALL, self._names.index(name))
        return self._number()

    def grow(self, pages: int) -> int:
        """Grow its memory; the size before, in pages."""
        self._tell(GROW, pages)
        return self._number()

    def put(self, data: bytes) -> int:
        """A pointer to `data` in fresh memory."""
        pointer, self._top = self._top, (self._top + len(data) + 15) & ~7
        self.poke(pointer, data)
        return pointer

    def room(self, size: int = 4) -> int:
        """A pointer to fresh memory, of zeros."""
        return self.put(bytes(size))

    def get(self, pointer: int, size: int = 4) -> int:
        """The number at a pointer."""
        return int.from_bytes(self.peek(pointer, size), "little")

    def _tell(self, what: int, first: int, second: int = 0, data: bytes = b"") -> None:
        said = struct.pack("<IIII", what, first, second, 1) + data
        while said:
            said = said[os.write(self._stdin, said) :]

    def _number(self) -> int:
        return int.from_bytes(self._take(4), "little")

    def _take(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            more = os.read(self._stdout, size - len(taken))
            assert more, "the guest has ended"
            taken += more
        return taken


@contextlib.asynccontextmanager
async def guided(
    launcher: Launcher, bundle: Bundle, text: str = "", files: Iterable[str] = ()
) -> AsyncIterator[Hand]:
    """A container with the guest, ended when the block is left."""
    bundle.put("main.wasm", text or module())
    for name in files:
        bundle.put(name, "content")
    stdin, stdout = os.pipe(), os.pipe()
    try:
        process = await launcher.create(bundle.request(stdin[0], stdout[1], 2))
    finally:
        os.close(stdin[0])
        os.close(stdout[1])
    await process.start(lambda number: None)
    try:
        yield Hand(process, stdin[1], stdout[0])
    finally:
        os.close(stdin[1])
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
        await reap(process)
        os.close(stdout[0])
