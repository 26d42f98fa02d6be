"""The arguments and the environment that the `wasmtime` command is started with."""

import socket
from collections.abc import Sequence

from wherry.runtime.exits import NOT_RUNNABLE, LaunchError

_ALWAYS = ["-C", "cache=n"]
"""Its own cache would be in somebody's home folder, and code is kept by ours."""

IDENTITY = "backtrace-details"
"""Of what code is compiled with; keys the cache."""

PORT = 8080
"""Of a server, unless the variable PORT says otherwise."""

_MEANT_FOR_PROGRAMS = (
    *("LD_", "GLIBC_", "MALLOC_", "RUST_", "TOKIO_", "WASMTIME_"),
    *("GCONV_PATH", "GETCONF_DIR", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH", "NIS_PATH", "NLSPATH"),
    *("RESOLV_HOST_CONF", "RES_OPTIONS", "TMPDIR", "TZDIR"),
)
"""How the names of variables begin that loader, C library and the command itself heed: what glibc
drops for a program with more rights than its caller, and the rest. An image must not reach them."""

OWN = {
    # As in the embedded engine: traps name source lines where the component has them.
    "WASMTIME_BACKTRACE_DETAILS": "1",
}
"""Variables of the command, for compiling and for running what was compiled."""


def compiling(source: str, target: str) -> list[str]:
    """Compile the component at the path `source` to the existing file `target`."""
    return ["compile", *_ALWAYS, "-o", target, source]


def common(env: Sequence[str], workdir: str, *, network: bool, memory: int | None) -> list[str]:
    """What is said in either case. `memory` is the limit of one memory in bytes."""
    options = [*_ALWAYS, "--allow-precompiled", "-S", "cli"]
    if network:
        options += ["-S", "http,inherit-network,allow-ip-name-lookup,tcp,udp"]
    if memory is not None:
        options += ["-W", f"max-memory-size={memory},max-table-elements={memory // 16}"]
    if "," not in workdir:  # which would begin another option
        options += ["-S", f"cwd={workdir}"]
    for name, value in _pairs(env):
        given = f"{name}={value}" if name.startswith(_MEANT_FOR_PROGRAMS) else name
        options.append(f"--env={given}")
    return options


def serving(options: Sequence[str], env: Sequence[str], code: str) -> list[str]:
    """Serve HTTP with a component that exports a handler. Raises LaunchError for a bad PORT.

    `options` are the `common` ones, `code` is the path of what `compiling` made.
    """
    address = f"{'[::]' if socket.has_dualstack_ipv6() else '0.0.0.0'}:{_port(env)}"  # noqa: S104
    return ["serve", "--no-logging-prefix", "--addr", address, *options, code]


def running(options: Sequence[str], args: Sequence[str], code: str) -> list[str]:
    """Run a component that is a command, with `args` of which the first is its name."""
    _check(*args)
    return ["run", f"--argv0={args[0]}", *options, code, *args[1:]]


def environment(env: Sequence[str]) -> dict[str, str]:
    """The environment of the command. Raises LaunchError for what is no text.

    Only names are among its arguments, for everybody on the host can read those.
    """
    variables = dict(OWN)
    for name, value in _pairs(env):
        if not name.startswith(_MEANT_FOR_PROGRAMS):
            variables[name] = value
    return variables


def _pairs(env: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values; of two values of a name the last counts. Raises LaunchError."""
    pairs: dict[str, str] = {}
    for entry in env:
        name, separator, value = entry.partition("=")
        if name and separator:
            pairs[name] = value
    _check(*pairs, *pairs.values())
    return list(pairs.items())


def _check(*texts: str) -> None:
    try:
        clean = "\0" not in "".join(texts).encode().decode()
    except UnicodeEncodeError:
        clean = False
    if not clean:
        raise LaunchError("arguments and environment must be UTF-8 text without NUL", NOT_RUNNABLE)


def _port(env: Sequence[str]) -> int:
    found = [value for name, value in _pairs(env) if name == "PORT"]
    if not found:
        return PORT
    text = found[0]
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536):
        raise LaunchError(f"PORT is {text[:40]!r}: expected a number from 1 to 65535")
    return int(text)
