"""wasmtime inside the container's own process: the default engine.

One `Engine` is made in the zygote and shared by every fork. Nothing here is called before the fork
that would start a thread of Tokio's: that begins with the first WASI call of the guest.
"""

import ctypes
import os
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_void_p
from typing import TYPE_CHECKING, NamedTuple

from wherry.runtime.engines import capi, settings
from wherry.runtime.engines.capi import GuestError
from wherry.runtime.engines.memory import BoundedMemories
from wherry.runtime.engines.network import allow_network
from wherry.runtime.exits import NOT_RUNNABLE, LaunchError
from wherry.runtime.sandbox.root import Preopen
from wherry.runtime.wasi.exits import ProcExit
from wherry.runtime.wasi.interposition import Interposition
from wherry.runtime.wasi.trampolines import PICKED, ROOT, Variant
from wherry.runtime.wasi.workdir import Workdir
from wherry.wasm import DEFERRED_START

if TYPE_CHECKING:
    from wherry.runtime.wasi.sockets import Sockets

_NO_RUN = "there is nothing to run, it is a library: the component exports no wasi:cli/run"
_NO_START = "there is nothing to run, it is a library: the module exports no function _start"

_TABLE_ENTRY = 16
"""Bytes a table entry may take in the host, for the limit on tables."""


class Trampolines(NamedTuple):
    """Two modules between a guest of WASI 0.1 and its functions (see `runtime.wasi`)."""

    variant: Variant
    front: "Loaded"
    back: "Loaded"


class Program(NamedTuple):
    """What a guest is started with."""

    args: Sequence[str]
    env: Sequence[str]
    network: bool
    preopens: Sequence[Preopen]
    """The first is the guest's root."""
    workdir: str = "/"
    trampolines: Trampolines | None = None
    """What makes a module begin in `workdir`, or gives it `sockets`."""
    sockets: "Sockets | None" = None


class Engine:
    """A wasmtime engine with wherry's settings, which are part of every cached code's key."""

    def __init__(
        self, memories: BoundedMemories | None = None, *, mapped_memory: bool = True
    ) -> None:
        """With `memories` every linear memory is one of those.

        Code has to be compiled for that: by an engine without `mapped_memory`, which is
        wasmtime's mapping of initial memory from the code's file.
        """
        os.environ.update(settings.ENVIRONMENT)
        config = capi.config_new()
        capi.config_async_stack(config, 2 * settings.MAX_WASM_STACK)
        capi.config_shared_memory(config, True)
        capi.config_max_stack(config, settings.MAX_WASM_STACK)
        if memories is not None:
            capi.config_memory_creator(config, byref(memories.creator))
        capi.config_memory_init_cow(config, mapped_memory and memories is None)
        self.handle: int = capi.engine_new(config)
        self.proc_exit = ProcExit()
        self._linkers: dict[bool, int] = {}
        if not self.handle:
            raise LaunchError("wasmtime could not make an engine on this machine")

    def compile(self, content: bytes, component: bool) -> bytes:
        """Compile a binary module or component to code. Raises GuestError if it is not valid."""
        new, serialize = (
            (capi.component_new, capi.component_serialize)
            if component
            else (capi.module_new, capi.module_serialize)
        )
        program, code = c_void_p(), capi.ByteVec()
        capi.raise_error(new(self.handle, content, len(content), byref(program)))
        capi.raise_error(serialize(program, byref(code)))
        return code.take()

    def load(self, code_path: str, component: bool) -> "Loaded":
        """Map code that `compile` made. Trusts the file; raises LaunchError if it does not fit."""
        deserialize = capi.component_deserialize_file if component else capi.module_deserialize_file
        program = c_void_p()
        try:
            capi.raise_error(deserialize(self.handle, code_path.encode(), byref(program)))
        except GuestError as error:
            raise LaunchError(f"compiled code does not load: {error.message}") from None
        return Loaded(self, program, component)

    def linker(self, component: bool) -> int:
        """The linker for modules or for components, with WASI defined; made once.

        Making it starts no thread, so the zygote does it before it forks.
        """
        if component not in self._linkers:
            if component:
                linker = capi.component_linker_new(self.handle)
                capi.raise_error(capi.component_linker_add_wasip2(linker))
                # For calls; to serve, there is the command (`engines.host`).
                capi.raise_error(capi.component_linker_add_wasi_http(linker))
            else:
                linker = capi.linker_new(self.handle)
                capi.raise_error(capi.linker_define_wasi(linker))
                self.proc_exit.shadow(linker)
            self._linkers[component] = linker
        return self._linkers[component]


class Loaded:
    """Code in memory, ready to be instantiated once."""

    def __init__(self, engine: Engine, program: c_void_p, component: bool) -> None:
        self._engine = engine
        self._program = program
        self._component = component

    def prepare(self, program: Program, memory_limit: int | None) -> "Instance":
        """Set up WASI and the limits; runs nothing of the guest.

        Raises LaunchError (126) if `program` asks for what WASI cannot give.
        """
        store = capi.store_new(self._engine.handle, None, None)
        context = capi.store_context(store)
        if memory_limit is not None:
            capi.store_limiter(store, -1, memory_limit // _TABLE_ENTRY, -1, -1, -1)
        capi.raise_error(capi.context_set_wasi(context, _wasi(program)))
        linker = self._engine.linker(self._component)
        if self._component:
            capi.context_set_wasi_http(context)
            return _ComponentInstance(context, linker, self._program, self._engine.proc_exit)
        instance = _ModuleInstance(context, linker, self._program, self._engine.proc_exit)
        if program.trampolines is not None:
            instance.interpose(_interposition(program, program.trampolines))
        return instance


class Instance:
    """A guest about to run."""

    def __init__(self, context: int, linker: int, program: c_void_p, proc_exit: ProcExit) -> None:
        self._proc_exit = proc_exit
        self._context = context
        self._linker = linker
        self._program = program

    def run(self) -> int:
        """Run the guest's command to its end; returns its exit code.

        Raises GuestError for a trap and LaunchError (126) when it cannot be linked or has nothing
        to run.
        """
        try:
            return self._run()
        except GuestError as error:
            if self._proc_exit.code is not None:
                return self._proc_exit.code
            if error.status is None:
                raise
            return error.status

    def _run(self) -> int:
        raise AssertionError("an instance is a module's or a component's")


class _ModuleInstance(Instance):
    _between: Interposition | None = None

    def interpose(self, between: Interposition) -> None:
        """Have `between` stand between the guest and WASI. Raises GuestError."""
        self._guest_linker = between.shadow(self._linker, self._context)
        self._between = between

    def _run(self) -> int:
        instance, trap = capi.Instance(), c_void_p()
        linker = self._linker if self._between is None else self._guest_linker
        error = capi.linker_instantiate(
            linker, self._context, self._program, byref(instance), byref(trap)
        )
        _raise_link_error(error)
        capi.raise_trap(trap)
        if self._between is not None:
            self._between.attach(instance)
        self._call(instance, DEFERRED_START)
        if not self._call(instance, "_start"):
            raise LaunchError(_NO_START, NOT_RUNNABLE)
        return 0

    def _call(self, instance: capi.Instance, name: str) -> bool:
        """Call the function exported as `name`, if there is one. Raises GuestError."""
        function, trap = capi.Func(), c_void_p()
        if not capi.export_function(self._context, instance, name.encode(), function):
            return False
        capi.raise_error(
            capi.func_call(self._context, byref(function), None, 0, None, 0, byref(trap))
        )
        capi.raise_trap(trap)
        return True


class _ComponentInstance(Instance):
    def _run(self) -> int:
        instance = capi.ComponentInstance()
        _raise_link_error(
            capi.component_linker_instantiate(
                self._linker, self._context, self._program, byref(instance)
            )
        )
        run = capi.ComponentFunc()
        index = None
        for name in (b"wasi:cli/run@0.2.0", b"run"):
            index = capi.component_instance_get_export_index(
                byref(instance), self._context, index, name, len(name)
            )
            if not index:
                raise LaunchError(_NO_RUN, NOT_RUNNABLE)
        if not capi.component_instance_get_func(byref(instance), self._context, index, byref(run)):
            raise LaunchError(_NO_RUN, NOT_RUNNABLE)
        result = capi.ComponentResult()
        capi.raise_error(
            capi.component_func_call(byref(run), self._context, None, 0, byref(result), 1)
        )
        return 0 if result.is_ok & 0xFF else 1


def to_binary(text: bytes) -> bytes:
    """Translate `.wat` text to a binary module. Raises GuestError with line and column."""
    binary = capi.ByteVec()
    capi.raise_error(capi.wat2wasm(text, len(text), byref(binary)))
    return binary.take()


def _interposition(program: Program, trampolines: Trampolines) -> Interposition:
    between = Interposition(trampolines.front._program, trampolines.back._program)
    root = ROOT
    if program.sockets is not None:
        program.sockets.interpose(between)
        root += program.sockets.preopened
    if trampolines.variant.workdir:
        workdir = Workdir(program.preopens[0].host, root, between.memory)
        between.host("pick", "ii", workdir.pick)
        between.mark(root, PICKED)
    return between


def _wasi(program: Program) -> int:
    config: int = capi.wasi_config_new()
    pairs = [entry.partition("=") for entry in program.env if "=" in entry]
    names = [name for name, _, _ in pairs]
    values = [value for _, _, value in pairs]
    if not (
        capi.wasi_config_set_argv(config, len(program.args), _strings(program.args))
        and capi.wasi_config_set_env(config, len(names), _strings(names), _strings(values))
    ):
        raise LaunchError("arguments and environment must be UTF-8 text without NUL", NOT_RUNNABLE)
    capi.wasi_config_inherit_stdin(config)
    capi.wasi_config_inherit_stdout(config)
    capi.wasi_config_inherit_stderr(config)
    if program.network:
        allow_network(config)
    root, *others = program.preopens
    hidden = 0 if program.sockets is None else program.sockets.preopened
    if program.trampolines is not None and program.trampolines.variant.workdir:
        workdir = Preopen(root.host + program.workdir, program.workdir, root.writable)
        others.insert(0, _deepest(workdir, others))
    # Whatever keeps the numbers of listening sockets is not seen by the guest.
    for host, guest, writable in (*[root] * hidden, root, *others):
        if not capi.wasi_config_preopen_dir(config, host.encode(), guest.encode(), writable):
            raise LaunchError(f"the guest's directory {guest} cannot be opened", NOT_RUNNABLE)
    return config


def _deepest(wanted: Preopen, others: Sequence[Preopen]) -> Preopen:
    """`wanted` where it really lies: a directory of the root, or one beneath another preopen."""
    above = [
        other for other in others if f"{wanted.guest}/".startswith(f"{other.guest.rstrip('/')}/")
    ]
    if not above:
        return wanted
    holder = max(above, key=lambda other: len(other.guest))
    rest = wanted.guest[len(holder.guest.rstrip("/")) :]
    return Preopen(holder.host + rest, wanted.guest, holder.writable)


def _strings(items: Sequence[str]) -> "ctypes.Array[c_char_p]":
    return (c_char_p * len(items))(*(item.encode("utf-8", "surrogateescape") for item in items))


def _raise_link_error(error: int | None) -> None:
    """An error of instantiation that is neither a trap nor an exit: an import is missing."""
    try:
        capi.raise_error(error)
    except GuestError as failure:
        if failure.status is None and "wasm backtrace" not in failure.message:
            first = failure.message.strip().splitlines()[0]
            raise LaunchError(f"the module cannot be linked: {first}", NOT_RUNNABLE) from None
        raise
