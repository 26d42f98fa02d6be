"""What imports mean to a person: files, clocks, sockets, HTTP …

An import that none of wherry's engines gives means `UNKNOWN`, whoever else may know it; what is
known of its origin is told by `origin_of`.
"""

from wherry.wasm.facts import PREVIEW1, WASMEDGE_SOCKETS, Import

FILES = "files"
STREAMS = "streams and open files"
CLOCKS = "clocks"
RANDOM = "random numbers"
CIRCUMSTANCES = "arguments and environment"
POLLING = "waiting"
SOCKETS = "sockets"
HTTP = "HTTP"
THREADS = "threads"
LIFE = "process"
UNKNOWN = "unknown"

ORDER = (
    CIRCUMSTANCES,
    STREAMS,
    FILES,
    CLOCKS,
    RANDOM,
    POLLING,
    LIFE,
    SOCKETS,
    HTTP,
    THREADS,
    UNKNOWN,
)
"""What every program needs comes first, what few can have comes last."""

_STREAM_CALLS = frozenset(
    {
        *("fd_read", "fd_write", "fd_close", "fd_seek", "fd_tell", "fd_renumber"),
        *("fd_fdstat_get", "fd_fdstat_set_flags", "fd_fdstat_set_rights"),
    }
)
_FILE_CALLS = frozenset(
    {
        *("fd_advise", "fd_allocate", "fd_datasync", "fd_sync", "fd_readdir"),
        *("fd_filestat_get", "fd_filestat_set_size", "fd_filestat_set_times"),
        *("fd_pread", "fd_pwrite", "fd_prestat_get", "fd_prestat_dir_name"),
        *("path_create_directory", "path_filestat_get", "path_filestat_set_times", "path_link"),
        *("path_open", "path_readlink", "path_remove_directory", "path_rename"),
        *("path_symlink", "path_unlink_file"),
    }
)
_CALLS: dict[str, str] = {
    **dict.fromkeys(_STREAM_CALLS, STREAMS),
    **dict.fromkeys(_FILE_CALLS, FILES),
    **dict.fromkeys(("clock_res_get", "clock_time_get"), CLOCKS),
    **dict.fromkeys(
        ("args_get", "args_sizes_get", "environ_get", "environ_sizes_get"), CIRCUMSTANCES
    ),
    **dict.fromkeys(("proc_exit", "proc_raise", "sched_yield"), LIFE),
    **dict.fromkeys(("sock_accept", "sock_recv", "sock_send", "sock_shutdown"), SOCKETS),
    **dict.fromkeys(WASMEDGE_SOCKETS, SOCKETS),
    "random_get": RANDOM,
    "poll_oneoff": POLLING,
    "epoll_oneoff": POLLING,
}
"""The functions of WASI 0.1, and WasmEdge's."""

_INTERFACES = {
    "wasi:cli/environment": CIRCUMSTANCES,
    "wasi:cli/exit": LIFE,
    "wasi:cli/": STREAMS,
    "wasi:io/poll": POLLING,
    "wasi:io/": STREAMS,
    "wasi:clocks/": CLOCKS,
    "wasi:random/": RANDOM,
    "wasi:filesystem/": FILES,
    "wasi:sockets/": SOCKETS,
    "wasi:http/": HTTP,
}
"""The interfaces of WASI 0.2 and 0.3 by how their names begin, longer ones first."""

_ORIGINS = {
    "wasi_unstable": "WASI from before 0.1, which no engine here has",
    "wasi_ephemeral_nn": "WASI-NN, neural networks: a plug-in of the wasmedge command",
    "wasi_nn": "WASI-NN, neural networks",
    "wasi_ephemeral_crypto_common": "WASI-crypto: a plug-in of the wasmedge command",
    "wasmedge_process": "processes: a plug-in of the wasmedge command",
    "wasi_experimental_http": "an early experiment with HTTP",
    "wbg": "JavaScript, through wasm-bindgen",
    "__wbindgen_placeholder__": "JavaScript, through wasm-bindgen, which has not been run",
    "gojs": "JavaScript, through Go's wasm_exec.js",
    "go": "JavaScript, through Go's wasm_exec.js",
    "javascript_kit": "JavaScript, through JavaScriptKit of Swift",
    "asyncify": "JavaScript, through Asyncify",
    "dart2wasm": "JavaScript, through Dart",
    "teavm": "JavaScript, through TeaVM",
    "spectest": "the tests of WebAssembly itself",
    "wasix_32v1": "WASIX of Wasmer",
    "wasix_64v1": "WASIX of Wasmer",
    "host": "a host of its own",
    "env": "a host of its own",
}
_PACKAGES = {
    "wasi:nn": "WASI-NN, neural networks",
    "wasi:keyvalue": "WASI key-value, a proposal",
    "wasi:config": "WASI configuration, a proposal",
    "wasi:logging": "WASI logging, a proposal",
    "wasi:tls": "WASI TLS, a proposal",
    "wasi:blobstore": "WASI blob store, a proposal",
    "wasi:messaging": "WASI messaging, a proposal",
    "fermyon:spin": "Spin",
    "spin:": "Spin",
    "wasmcloud:": "wasmCloud",
    "fastly:": "Fastly Compute",
}


def meaning(item: Import) -> str:
    """What `item` is for, as one of `ORDER`."""
    if item.module == PREVIEW1 and item.kind == "function":
        return _CALLS.get(item.name, UNKNOWN)
    if (item.module, item.name) == ("wasi", "thread-spawn") or _is_shared_memory(item):
        return THREADS
    if not item.module:
        return next(
            (found for start, found in _INTERFACES.items() if item.name.startswith(start)), UNKNOWN
        )
    return UNKNOWN


def socket_abi(items: tuple[Import, ...]) -> str:
    """Whose sockets the imports are: "WASI 0.1", "WasmEdge", "WasmEdge, with 128-byte addresses",
    "WASI 0.2", "WASI 0.3", or empty.

    WasmEdge's second ABI is told by `sock_getlocaladdr` without the parameter for the family.
    """
    calls = {item.name: item for item in items if item.module == PREVIEW1}
    if not WASMEDGE_SOCKETS.isdisjoint(calls):
        wide = any(
            item.type is not None and len(item.type.parameters) == 3
            for name in ("sock_getlocaladdr", "sock_getpeeraddr")
            if (item := calls.get(name)) is not None
        )
        return "WasmEdge, with 128-byte addresses" if wide else "WasmEdge"
    if any(_CALLS.get(name) == SOCKETS for name in calls):
        return "WASI 0.1, on listeners it is given"
    for item in items:
        if not item.module and item.name.startswith("wasi:sockets/"):
            return f"WASI {'.'.join(item.name.rpartition('@')[2].split('.')[:2])}"
    return ""


def origin_of(item: Import) -> str:
    """Whose an unknown import is, as far as its name tells; may be empty."""
    if item.module == "env" and item.name.startswith(("emscripten_", "invoke_", "__syscall_")):
        return "JavaScript, through Emscripten"
    if item.module == "env" and item.name == "abort":
        return "AssemblyScript's host"
    if item.module.startswith("javy_quickjs_provider"):
        return "Javy's module with QuickJS in it, which is linked to it"
    if item.module:
        return _ORIGINS.get(item.module, "")
    return next((told for start, told in _PACKAGES.items() if item.name.startswith(start)), "")


def _is_shared_memory(item: Import) -> bool:
    return item.kind == "memory" and (item.module, item.name) == ("env", "memory")
