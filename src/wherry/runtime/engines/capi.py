"""The part of wasmtime's C API that wherry calls, declared by hand.

The shared library comes from the `wasmtime` package, but not its Python classes: importing those
costs 25 ms and 5 MB in every zygote, and calls through them are ten times slower. Each function
here has the signature of wasmtime's C headers (`wasmtime.h`, release 50).
"""

import ctypes
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_int64, c_size_t, c_uint8, c_void_p

from wherry.runtime.engines import settings

CHARS = POINTER(c_char_p)


class ByteVec(ctypes.Structure):
    """wasm_byte_vec_t."""

    _fields_ = [("size", c_size_t), ("data", c_void_p)]

    def take(self) -> bytes:
        """The content as bytes; frees the vector."""
        content = ctypes.string_at(self.data, self.size) if self.size else b""
        byte_vec_delete(byref(self))
        return content


class Func(ctypes.Structure):
    """wasmtime_func_t."""

    _fields_ = [("store_id", ctypes.c_uint64), ("private", c_void_p)]


EXTERN_FUNC = 0
EXTERN_MEMORY = 3


class Extern(ctypes.Structure):
    """wasmtime_extern_t, with its union left opaque."""

    _fields_ = [("kind", c_uint8), ("of", ctypes.c_uint64 * 4)]


class Instance(ctypes.Structure):
    """wasmtime_instance_t."""

    _fields_ = [("store_id", ctypes.c_uint64), ("private", c_size_t)]


class ComponentInstance(ctypes.Structure):
    """wasmtime_component_instance_t."""

    _fields_ = [("store_id", ctypes.c_uint64), ("private", ctypes.c_uint32)]


class ComponentFunc(ctypes.Structure):
    """wasmtime_component_func_t."""

    _fields_ = [
        ("store_id", ctypes.c_uint64),
        ("private1", ctypes.c_uint32),
        ("private2", ctypes.c_uint32),
        ("private3", c_void_p),
    ]


class ComponentResult(ctypes.Structure):
    """wasmtime_component_val_t of kind `result`, with room for the largest member of its union."""

    _fields_ = [("kind", c_uint8), ("is_ok", ctypes.c_uint64), ("rest", ctypes.c_uint64 * 6)]


GetMemory = ctypes.CFUNCTYPE(c_size_t, c_void_p, POINTER(c_size_t), POINTER(c_size_t))
GrowMemory = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_size_t)
Finalizer = ctypes.CFUNCTYPE(None, c_void_p)


class LinearMemory(ctypes.Structure):
    """wasmtime_linear_memory_t."""

    _fields_ = [
        ("env", c_void_p),
        ("get_memory", GetMemory),
        ("grow_memory", GrowMemory),
        ("finalizer", Finalizer),
    ]


NewMemory = ctypes.CFUNCTYPE(
    c_size_t, c_void_p, c_void_p, c_size_t, c_size_t, c_size_t, c_size_t, POINTER(LinearMemory)
)


class MemoryCreator(ctypes.Structure):
    """wasmtime_memory_creator_t."""

    _fields_ = [("env", c_void_p), ("new_memory", NewMemory), ("finalizer", Finalizer)]


_dll = ctypes.CDLL(settings.library())


def _function(name: str, result: object, *arguments: object) -> "ctypes._NamedFuncPointer":
    function = getattr(_dll, name)
    function.restype = result
    function.argtypes = arguments
    return function  # type: ignore[no-any-return]


byte_vec_delete = _function("wasm_byte_vec_delete", None, POINTER(ByteVec))

config_new = _function("wasm_config_new", c_void_p)
engine_new = _function("wasm_engine_new_with_config", c_void_p, c_void_p)
config_shared_memory = _function("wasmtime_config_shared_memory_set", None, c_void_p, c_bool)
config_max_stack = _function("wasmtime_config_max_wasm_stack_set", None, c_void_p, c_size_t)
config_async_stack = _function("wasmtime_config_async_stack_size_set", None, c_void_p, c_size_t)
config_memory_init_cow = _function("wasmtime_config_memory_init_cow_set", None, c_void_p, c_bool)
config_memory_creator = _function(
    "wasmtime_config_host_memory_creator_set", None, c_void_p, POINTER(MemoryCreator)
)

error_new = _function("wasmtime_error_new", c_void_p, c_char_p)
error_delete = _function("wasmtime_error_delete", None, c_void_p)
error_message = _function("wasmtime_error_message", None, c_void_p, POINTER(ByteVec))
error_exit_status = _function("wasmtime_error_exit_status", c_bool, c_void_p, POINTER(c_int))
trap_new = _function("wasmtime_trap_new", c_void_p, c_char_p, c_size_t)
trap_message = _function("wasm_trap_message", None, c_void_p, POINTER(ByteVec))

wat2wasm = _function("wasmtime_wat2wasm", c_void_p, c_char_p, c_size_t, POINTER(ByteVec))
module_new = _function(
    "wasmtime_module_new", c_void_p, c_void_p, c_char_p, c_size_t, POINTER(c_void_p)
)
module_serialize = _function("wasmtime_module_serialize", c_void_p, c_void_p, POINTER(ByteVec))
module_deserialize_file = _function(
    "wasmtime_module_deserialize_file", c_void_p, c_void_p, c_char_p, POINTER(c_void_p)
)
component_new = _function(
    "wasmtime_component_new", c_void_p, c_void_p, c_char_p, c_size_t, POINTER(c_void_p)
)
component_serialize = _function(
    "wasmtime_component_serialize", c_void_p, c_void_p, POINTER(ByteVec)
)
component_deserialize_file = _function(
    "wasmtime_component_deserialize_file", c_void_p, c_void_p, c_char_p, POINTER(c_void_p)
)

store_new = _function("wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
store_context = _function("wasmtime_store_context", c_void_p, c_void_p)
store_limiter = _function(
    "wasmtime_store_limiter", None, c_void_p, c_int64, c_int64, c_int64, c_int64, c_int64
)
context_set_wasi_http = _function("wasmtime_context_set_wasi_http", None, c_void_p)
context_set_wasi = _function("wasmtime_context_set_wasi", c_void_p, c_void_p, c_void_p)

wasi_config_new = _function("wasi_config_new", c_void_p)
wasi_config_set_argv = _function("wasi_config_set_argv", c_bool, c_void_p, c_size_t, CHARS)
wasi_config_set_env = _function("wasi_config_set_env", c_bool, c_void_p, c_size_t, CHARS, CHARS)
wasi_config_inherit_stdin = _function("wasi_config_inherit_stdin", None, c_void_p)
wasi_config_inherit_stdout = _function("wasi_config_inherit_stdout", None, c_void_p)
wasi_config_inherit_stderr = _function("wasi_config_inherit_stderr", None, c_void_p)
wasi_config_inherit_network = _function("wasi_config_inherit_network", None, c_void_p)
wasi_config_allow_ip_name_lookup = _function(
    "wasi_config_allow_ip_name_lookup", None, c_void_p, c_bool
)
wasi_config_preopen_dir = _function(
    "wasi_config_preopen_dir", c_bool, c_void_p, c_char_p, c_char_p, c_bool
)

linker_new = _function("wasmtime_linker_new", c_void_p, c_void_p)
linker_define_wasi = _function("wasmtime_linker_define_wasi", c_void_p, c_void_p)
linker_instantiate = _function(
    "wasmtime_linker_instantiate",
    c_void_p,
    c_void_p,
    c_void_p,
    c_void_p,
    POINTER(Instance),
    POINTER(c_void_p),
)
instance_export_get = _function(
    "wasmtime_instance_export_get",
    c_bool,
    c_void_p,
    POINTER(Instance),
    c_char_p,
    c_size_t,
    POINTER(Extern),
)
instance_export_nth = _function(
    "wasmtime_instance_export_nth",
    c_bool,
    c_void_p,
    POINTER(Instance),
    c_size_t,
    POINTER(c_void_p),
    POINTER(c_size_t),
    POINTER(Extern),
)
linker_clone = _function("wasmtime_linker_clone", c_void_p, c_void_p)
linker_allow_shadowing = _function("wasmtime_linker_allow_shadowing", None, c_void_p, c_bool)
linker_define_instance = _function(
    "wasmtime_linker_define_instance",
    c_void_p,
    c_void_p,
    c_void_p,
    c_char_p,
    c_size_t,
    POINTER(Instance),
)
linker_define = _function(
    "wasmtime_linker_define",
    c_void_p,
    c_void_p,
    c_void_p,
    c_char_p,
    c_size_t,
    c_void_p,
    c_size_t,
    POINTER(Extern),
)
UncheckedCallback = ctypes.CFUNCTYPE(
    c_size_t, c_void_p, c_void_p, POINTER(ctypes.c_uint32), c_size_t
)
linker_define_func_unchecked = _function(
    "wasmtime_linker_define_func_unchecked",
    c_void_p,
    c_void_p,
    c_char_p,
    c_size_t,
    c_char_p,
    c_size_t,
    c_void_p,
    UncheckedCallback,
    c_void_p,
    c_void_p,
)
memory_data = _function("wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
memory_data_size = _function("wasmtime_memory_data_size", c_size_t, c_void_p, c_void_p)
_valtype_new = _function("wasm_valtype_new", c_void_p, c_uint8)
_valtype_vec_new = _function(
    "wasm_valtype_vec_new", None, POINTER(ByteVec), c_size_t, POINTER(c_void_p)
)
_functype_new = _function("wasm_functype_new", c_void_p, POINTER(ByteVec), POINTER(ByteVec))

func_call = _function(
    "wasmtime_func_call",
    c_void_p,
    c_void_p,
    POINTER(Func),
    c_void_p,
    c_size_t,
    c_void_p,
    c_size_t,
    POINTER(c_void_p),
)

func_call_unchecked = _function(
    "wasmtime_func_call_unchecked",
    c_void_p,
    c_void_p,
    POINTER(Func),
    c_void_p,
    c_size_t,
    POINTER(c_void_p),
)

component_linker_new = _function("wasmtime_component_linker_new", c_void_p, c_void_p)
component_linker_add_wasip2 = _function("wasmtime_component_linker_add_wasip2", c_void_p, c_void_p)
component_linker_add_wasi_http = _function(
    "wasmtime_component_linker_add_wasi_http", c_void_p, c_void_p
)
component_linker_instantiate = _function(
    "wasmtime_component_linker_instantiate",
    c_void_p,
    c_void_p,
    c_void_p,
    c_void_p,
    POINTER(ComponentInstance),
)
component_instance_get_export_index = _function(
    "wasmtime_component_instance_get_export_index",
    c_void_p,
    POINTER(ComponentInstance),
    c_void_p,
    c_void_p,
    c_char_p,
    c_size_t,
)
component_instance_get_func = _function(
    "wasmtime_component_instance_get_func",
    c_bool,
    POINTER(ComponentInstance),
    c_void_p,
    c_void_p,
    POINTER(ComponentFunc),
)
component_func_call = _function(
    "wasmtime_component_func_call",
    c_void_p,
    POINTER(ComponentFunc),
    c_void_p,
    c_void_p,
    c_size_t,
    POINTER(ComponentResult),
    c_size_t,
)


class GuestError(Exception):
    """wasmtime's error or trap; the message holds the backtrace."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        """The exit status, if it was the guest's own exit."""


def raise_error(error: int | None) -> None:
    """Turn a wasmtime_error_t, which it frees, into GuestError; none is no error."""
    if not error:
        return
    status = c_int()
    exited = error_exit_status(error, byref(status))
    message = ByteVec()
    error_message(error, byref(message))
    error_delete(error)
    text = message.take().decode(errors="replace")
    raise GuestError(text, status.value if exited else None)


def raise_trap(trap: c_void_p) -> None:
    """Turn a wasm_trap_t into GuestError; none is no trap."""
    if not trap:
        return
    message = ByteVec()
    trap_message(trap, byref(message))
    raise GuestError(message.take().decode(errors="replace").rstrip("\0"))


def function_type(parameters: str, results: str) -> int:
    """A wasm_functype_t from letters: `i` is i32, `I` is i64."""
    vectors = []
    for letters in (parameters, results):
        kinds = (c_void_p * len(letters))(*(_valtype_new("iI".index(kind)) for kind in letters))
        vector = ByteVec()
        _valtype_vec_new(byref(vector), len(letters), kinds)
        vectors.append(vector)
    return int(_functype_new(byref(vectors[0]), byref(vectors[1])))


def export_function(context: int, instance: Instance, name: bytes, result: Func) -> bool:
    """Put the function that `instance` exports as `name` into `result`, if it does."""
    item = Extern()
    found = instance_export_get(context, byref(instance), name, len(name), byref(item))
    if not found or item.kind != EXTERN_FUNC:
        return False
    ctypes.memmove(byref(result), byref(item, Extern.of.offset), ctypes.sizeof(result))
    return True
