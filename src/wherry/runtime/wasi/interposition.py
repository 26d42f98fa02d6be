"""Host functions and the trampolines to them, between one guest and WASI 0.1."""

import ctypes
from collections.abc import Callable
from ctypes import byref, c_size_t, c_void_p

from wherry.runtime.engines import capi
from wherry.runtime.wasi.errnos import FAULT

_P1 = b"wasi_snapshot_preview1"
_HOST = b"wherry"

_RAW = 16
"""Bytes of a value in a call (wasmtime_val_raw_t): parameters, then in their place the result."""

_READ_WRITE = 0x200  # PyBUF_WRITE
_view = ctypes.pythonapi.PyMemoryView_FromMemory
_view.restype = ctypes.py_object
_view.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]

Function = Callable[..., int]
"""Takes the arguments of a call as unsigned numbers, and returns its result."""


class Memory:
    """The memory that an instance exports.

    It stays where it is: all that a memory may grow to is reserved, in which sizes are of 32 bits,
    as they are in a memory that trampolines can be linked to.
    """

    def __init__(self, context: int, item: capi.Extern) -> None:
        """`item` is kept alive by the caller's keeping this."""
        self._item = item
        self._memory = byref(item, capi.Extern.of.offset)
        self._context = context
        self.view = memoryview(b"")
        """The memory as large as it was when `grown` was called last."""
        self.grown()

    def grown(self) -> bool:
        """Whether the memory is larger than `view`, which is as large from now on."""
        size = capi.memory_data_size(self._context, self._memory)
        if size == len(self.view):
            return False
        self.view = _view(capi.memory_data(self._context, self._memory), size, _READ_WRITE)
        return True


class Interposition:
    """Puts the trampolines, front and back, before the functions of WASI that one guest calls."""

    def __init__(self, front: c_void_p, back: c_void_p) -> None:
        self._front = front
        self._back = back
        self._front_instance = capi.Instance()
        self._back_instance = capi.Instance()
        self._context = 0
        self._inner = 0
        self._functions: list[tuple[str, Function, slice]] = []
        self._imports: list[tuple[bytes, bytes, str]] = []
        self._first: list[Callable[[], None]] = []
        self._originals: dict[str, capi.Func] = {}
        self._descriptors: memoryview | None = None
        self._marks: dict[int, int] = {}
        self._memory: Memory | None = None
        # One for all functions, which are told apart by the number that is their data.
        self._callback = capi.UncheckedCallback(self._call)

    def host(self, name: str, parameters: str, function: Function) -> None:
        """Have the front ask `function`, which it imports as `name`."""
        self._define_function(_HOST, name, parameters, function)

    def instead(self, name: str, parameters: str, function: Function) -> None:
        """Have the guest call `function` instead of WASI's `name`, or if WASI has none."""
        self._define_function(_P1, name, parameters, function)

    def first(self, function: Callable[[], None]) -> None:
        """Have `function` called when the container has been started, before its guest runs."""
        self._first.append(function)

    def mark(self, descriptor: int, whose: int) -> None:
        """Say whose business a `descriptor` below NUMBERS is (`trampolines.ORIGINALS` …)."""
        if self._descriptors is None:
            self._marks[descriptor] = whose
        else:
            self._descriptors[descriptor] = whose

    def _define_function(
        self, module: bytes, name: str, parameters: str, function: Function
    ) -> None:
        self._functions.append((name, function, slice(0, len(parameters) * _RAW // 4, _RAW // 4)))
        self._imports.append((module, name.encode(), parameters))

    def memory(self) -> memoryview:
        """The guest's memory; one of no bytes if it exports none."""
        self.grown()
        return self.known_memory()

    def known_memory(self) -> memoryview:
        """The same without what it may have grown by since `grown` was called last."""
        return memoryview(b"") if self._memory is None else self._memory.view

    def grown(self) -> bool:
        """Whether the guest's memory has grown since this was called last."""
        return self._memory is not None and self._memory.grown()

    def original(self, name: str, *arguments: int) -> int:
        """Call WASI's own function on behalf of the guest, which is calling; returns its result."""
        if self._memory is None:
            return FAULT  # there is no back
        if name not in self._originals:
            function = capi.Func()
            if not capi.export_function(
                self._context, self._back_instance, name.encode(), function
            ):
                raise KeyError(name)
            self._originals[name] = function
        values = (ctypes.c_uint64 * (2 * max(len(arguments), 1)))()
        values[0 : 2 * len(arguments) : 2] = list(arguments)
        trap = c_void_p()
        capi.raise_error(
            capi.func_call_unchecked(
                self._context, byref(self._originals[name]), values, len(values) // 2, byref(trap)
            )
        )
        capi.raise_trap(trap)
        return values[0] & 0xFFFFFFFF

    def shadow(self, linker: int, context: int) -> int:
        """A linker for the guest in which the front stands before WASI. Raises GuestError."""
        self._context = context
        guest_linker = self._clone(linker)
        # What the front is made of is in a linker of its own: its table and its memory, and what
        # stands behind them, are no import of the guest's.
        self._inner = self._clone(linker)
        for number, (module, name, parameters) in enumerate(self._imports, 1):
            capi.raise_error(
                capi.linker_define_func_unchecked(
                    guest_linker if module == _P1 else self._inner,
                    module,
                    len(module),
                    name,
                    len(name),
                    capi.function_type(parameters, "i"),
                    self._callback,
                    number,
                    None,
                )
            )
        self._instantiate(self._inner, self._front, self._front_instance)
        self._define_functions(guest_linker, self._front_instance)
        memory = self._export_memory(self._front_instance, b"descriptors")
        if memory is not None:
            self._descriptors = memory.view
            for descriptor, whose in self._marks.items():
                self._descriptors[descriptor] = whose
        return guest_linker

    def attach(self, guest: capi.Instance) -> None:
        """Link the back to the guest's memory, before the guest runs. Raises GuestError.

        Without a memory there is no back: a call of WASI's own functions is a trap, as it is
        without trampolines.
        """
        for function in self._first:
            function()
        self._memory = self._export_memory(guest, b"memory")
        if self._memory is None:
            return
        self._define(self._inner, _HOST, self._front_instance)
        self._define(self._inner, b"guest", guest)
        self._instantiate(self._inner, self._back, self._back_instance)

    @staticmethod
    def _clone(linker: int) -> int:
        clone: int = capi.linker_clone(linker)
        capi.linker_allow_shadowing(clone, True)
        return clone

    def _define_functions(self, linker: int, instance: capi.Instance) -> None:
        """Have those exports of `instance` that are functions be WASI's."""
        name, size, item = c_void_p(), c_size_t(), capi.Extern()
        index = 0
        while capi.instance_export_nth(
            self._context, byref(instance), index, byref(name), byref(size), byref(item)
        ):
            index += 1
            if item.kind == capi.EXTERN_FUNC:
                capi.raise_error(
                    capi.linker_define(
                        linker, self._context, _P1, len(_P1), name, size, byref(item)
                    )
                )

    def _export_memory(self, instance: capi.Instance, name: bytes) -> Memory | None:
        item = capi.Extern()
        found = capi.instance_export_get(
            self._context, byref(instance), name, len(name), byref(item)
        )
        return Memory(self._context, item) if found and item.kind == capi.EXTERN_MEMORY else None

    def _define(self, linker: int, name: bytes, instance: capi.Instance) -> None:
        capi.raise_error(
            capi.linker_define_instance(linker, self._context, name, len(name), byref(instance))
        )

    def _instantiate(self, linker: int, module: c_void_p, result: capi.Instance) -> None:
        trap = c_void_p()
        capi.raise_error(
            capi.linker_instantiate(linker, self._context, module, byref(result), byref(trap))
        )

    def _call(
        self, number: int, _caller: object, values: "ctypes._Pointer[ctypes.c_uint32]", _count: int
    ) -> int:
        name, function, arguments = self._functions[number - 1]
        try:
            values[0] = function(*values[arguments])
        except Exception as error:
            # A fault of wherry's: what the guest would make of it is anybody's guess.
            message = f"wherry failed in {name}: {error!r}".encode()
            return int(capi.trap_new(message, len(message)))
        return 0
