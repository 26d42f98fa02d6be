"""Giving a guest the network of its process, past what wasmtime's C API has words for."""

import ctypes
from ctypes import c_size_t, c_void_p

from wherry.runtime.engines import capi
from wherry.runtime.exits import LaunchError

_KINDS = 3
"""Looking up names, UDP, TCP: three booleans side by side in `wasi_config_t`."""

_size_of = ctypes.CDLL(None).malloc_usable_size
_size_of.argtypes, _size_of.restype = [c_void_p], c_size_t


def allow_network(config: int) -> None:
    """Let a component make sockets of TCP and UDP and look up names.

    Since its release 48 wasmtime forbids sockets unless told otherwise, and its C API can only tell
    it to allow looking up names. Which byte that setter writes is seen; the same setter then sets
    the two bytes after it. Raises LaunchError should they not be what they are taken for.
    """
    capi.wasi_config_inherit_network(config)
    size = _size_of(config)
    capi.wasi_config_allow_ip_name_lookup(config, False)
    before = ctypes.string_at(config, size)
    capi.wasi_config_allow_ip_name_lookup(config, True)
    after = ctypes.string_at(config, size)
    written = [index for index in range(size) if before[index] != after[index]]
    if len(written) != 1 or not set(after[written[0] :][:_KINDS]) <= {0, 1}:
        raise LaunchError("this release of wasmtime cannot give a component the network")
    for kind in range(1, _KINDS):
        capi.wasi_config_allow_ip_name_lookup(config + kind, True)
