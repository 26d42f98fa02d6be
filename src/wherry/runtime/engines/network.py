"""Giving a guest the network of its process, past what wasmtime's C API has words for."""

import ctypes
import os
from ctypes import c_size_t, c_void_p

from wherry.runtime.engines import capi
from wherry.runtime.exits import LaunchError

_KINDS = 3
"""Looking up names, UDP, TCP: three booleans side by side in `wasi_config_t`."""

_libc = ctypes.CDLL(None)
_size_of = _libc.malloc_usable_size
_size_of.argtypes, _size_of.restype = [c_void_p], c_size_t

_SOURCES = ("files", "dns")
"""Where names are looked up (nsswitch.conf(5)): in /etc/hosts, and by asking name servers."""

_OTHERS = (
    *("aliases", "ethers", "group", "gshadow", "initgroups", "netgroup", "networks", "passwd"),
    *("protocols", "publickey", "rpc", "services", "shadow"),
)
"""All that is looked up but the names of hosts: getaddrinfo(3) asks for services."""

_BUILT_IN = (2, 34)
"""The first glibc that has these two inside itself instead of in libraries of their own."""


def keep_lookups_at_home() -> None:
    """Have the C library look everything up by itself, in this process and all that come from it.

    An image's /etc/nsswitch.conf would name libraries of the image, and the host's own names some
    that glibc would find there: native code out of an image of Wasm. To be called while the host's
    root is in sight. Raises OSError.
    """
    # All of a name's addresses in /etc/hosts count, not the first alone, though the image has no
    # /etc/host.conf that says so (host.conf(5)): Docker writes two lines for who has two addresses.
    os.environ["RESOLV_MULTI"] = "on"
    if not hasattr(_libc, "__nss_configure_lookup"):
        return  # not glibc: there are no such libraries
    if _release_of_glibc() < _BUILT_IN:
        for source in _SOURCES:
            ctypes.CDLL(f"libnss_{source}.so.2")  # loaded once, it is not looked for again
    if _libc.__nss_configure_lookup(b"hosts", " ".join(_SOURCES).encode()) != 0:
        raise OSError("the C library does not take the sources of names")
    for database in _OTHERS:
        # One that this release does not know is not looked up by it.
        _libc.__nss_configure_lookup(database.encode(), b"files")


def _release_of_glibc() -> tuple[int, ...]:
    words = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    return tuple(int(part) for part in words[-1].split(".")[:2]) if words else (0,)


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
    found = after[written[0] :][:_KINDS] if len(written) == 1 else b""
    if len(found) != _KINDS or not set(found) <= {0, 1}:
        raise LaunchError("this release of wasmtime cannot give a component the network")
    for kind in range(1, _KINDS):
        capi.wasi_config_allow_ip_name_lookup(config + kind, True)
