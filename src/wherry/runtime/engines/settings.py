"""Settings of the embedded engine. They decide which compiled code fits, so they key the cache."""

import importlib.util
import os

MAX_WASM_STACK = 2 << 20
"""Bytes. CPython and CRuby overflow wasmtime's 512 KiB with ordinary programs; the thread's own
stack has 8 MiB."""

ENVIRONMENT = {
    # Traps name source lines where the module has them; read when an engine is made.
    "WASMTIME_BACKTRACE_DETAILS": "1",
    # One thread for host calls instead of one for each CPU.
    "TOKIO_WORKER_THREADS": "1",
}
"""Variables of the process that wasmtime reads."""

IDENTITY = f"stack={MAX_WASM_STACK} backtrace-details shared-memory facts=4"


def library() -> str:
    """The path of wasmtime's shared library in the `wasmtime` package. Raises ImportError."""
    spec = importlib.util.find_spec("wasmtime")
    if spec is None or spec.origin is None:
        raise ImportError("the package 'wasmtime' is not installed")
    folder = os.path.dirname(spec.origin)
    return f"{folder}/linux-{os.uname().machine}/_libwasmtime.so"
