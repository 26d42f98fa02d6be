"""A working directory for WASI 0.1, which has none.

wasi-libc, under C, Rust, CPython and CRuby, believes it starts in "/" and hands both "/x" and "x"
to the host as "x" below the first preopened directory. So that `WORKDIR` means what it means in
Docker, each call that takes a path below that descriptor is looked at: where its first name exists
in the root directory it was absolute; else it is taken from the working directory, which is
preopened beside the root. Go and others read PWD instead and are left alone.
"""

import ctypes
import os
from ctypes import byref, c_void_p

from wherry.runtime.engines import capi
from wherry.runtime.wasi.trampolines import ROOT

WORKDIR = 4
"""The descriptor of the second preopened directory, the working directory."""

_P1 = b"wasi_snapshot_preview1"
_MAX_PATH = 4096


def pick(path: bytes, root: bytes = b"") -> int:
    """The descriptor that a path below "/", on the host `root`, is to be resolved from."""
    first = path.lstrip(b"/").partition(b"/")[0]
    if first in (b"", b".", b".."):
        return WORKDIR
    try:
        os.stat(root + b"/" + first, follow_symlinks=False)
    except (OSError, ValueError):
        return WORKDIR
    return ROOT


class Workdir:
    """Puts the trampolines between one guest and WASI."""

    def __init__(self, front: c_void_p, back: c_void_p, root: str) -> None:
        self._root = os.fsencode(root).rstrip(b"/")
        self._front = front
        self._back = back
        self._instance = capi.Instance()
        self._context = 0
        self._memory = capi.Extern()
        self._callback = capi.UncheckedCallback(self._pick)

    def shadow(self, linker: int, context: int) -> int:
        """A linker for the guest in which the front stands before WASI. Raises GuestError."""
        self._context = context
        guest_linker: int = capi.linker_clone(linker)
        capi.linker_allow_shadowing(guest_linker, True)
        capi.raise_error(
            capi.linker_define_func_unchecked(
                guest_linker,
                b"wherry",
                6,
                b"pick",
                4,
                capi.function_type("ii", "i"),
                self._callback,
                None,
                None,
            )
        )
        self._instantiate(guest_linker, self._front, self._instance)
        self._define(guest_linker, _P1, self._instance)
        return guest_linker

    def attach(self, linker: int, guest: capi.Instance) -> None:
        """Link the back to the guest's memory, before the guest runs. Raises GuestError."""
        capi.instance_export_get(self._context, byref(guest), b"memory", 6, byref(self._memory))
        back_linker: int = capi.linker_clone(linker)
        self._define(back_linker, b"wherry", self._instance)
        self._define(back_linker, b"guest", guest)
        self._instantiate(back_linker, self._back, capi.Instance())

    def _define(self, linker: int, name: bytes, instance: capi.Instance) -> None:
        capi.raise_error(
            capi.linker_define_instance(linker, self._context, name, len(name), byref(instance))
        )

    def _instantiate(self, linker: int, module: c_void_p, result: capi.Instance) -> None:
        trap = c_void_p()
        capi.raise_error(
            capi.linker_instantiate(linker, self._context, module, byref(result), byref(trap))
        )

    def _pick(
        self, _env: object, _caller: object, values: "ctypes._Pointer[ctypes.c_int32]", _count: int
    ) -> int:
        # Each value takes 16 bytes; a result replaces the first argument.
        pointer, length = values[0] & 0xFFFFFFFF, values[4] & 0xFFFFFFFF
        memory = byref(self._memory, capi.Extern.of.offset)
        size = capi.memory_data_size(self._context, memory)
        if length > _MAX_PATH or pointer + length > size:
            values[0] = ROOT  # the original answers with the error that is due
        else:
            base = capi.memory_data(self._context, memory)
            values[0] = pick(ctypes.string_at(base + pointer, length), self._root)
        return 0
