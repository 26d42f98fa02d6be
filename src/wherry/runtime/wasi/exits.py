"""`proc_exit` of WASI 0.1: wasmtime refuses exit codes from 126 up, which Docker allows."""

import ctypes

from wherry.runtime.engines import capi

_MESSAGE = b"the guest exits"


class ProcExit:
    """Stands before wasmtime's `proc_exit` in a linker and keeps the code."""

    def __init__(self) -> None:
        self.code: int | None = None
        """The code the guest exited with, once it has."""
        self._callback = capi.UncheckedCallback(self._exit)

    def shadow(self, linker: int) -> None:
        """Define `proc_exit` in a linker that has WASI 0.1 already. Raises GuestError."""
        module, name = b"wasi_snapshot_preview1", b"proc_exit"
        capi.linker_allow_shadowing(linker, True)
        capi.raise_error(
            capi.linker_define_func_unchecked(
                linker,
                module,
                len(module),
                name,
                len(name),
                capi.function_type("i", ""),
                self._callback,
                None,
                None,
            )
        )
        capi.linker_allow_shadowing(linker, False)

    def _exit(
        self, _env: object, _caller: object, values: "ctypes._Pointer[ctypes.c_uint32]", _n: int
    ) -> int:
        self.code = values[0] & 0xFF
        # Only a trap unwinds the guest; who called it looks at `code` first.
        return int(capi.trap_new(_MESSAGE, len(_MESSAGE)))
