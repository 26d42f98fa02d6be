"""The compiler process: a module on stdin becomes code on stdout.

Compiling is the one time that a program of wherry's reads a hostile module in depth, so it happens
in a process that can do nothing else: no new privileges, no sockets, bounded time and output. It
says two lines on stderr: the digest of what it has read, for a module may change meanwhile; and
what the code is (status 0) or what is wrong with the module (status 1). What only the `wasmtime`
command can run that command compiles, which this process then becomes: what the code is was said
before. Without the command the status is 3, and what it is needed for is said.
"""

import hashlib
import os
import resource
import sys
from collections.abc import Iterator
from typing import NoReturn

import msgspec

from wherry import wasm
from wherry.runtime.engines import embedded
from wherry.runtime.engines.capi import GuestError
from wherry.runtime.engines.host import words
from wherry.runtime.facts import NEEDS_PROGRAM, Facts
from wherry.runtime.sandbox import capabilities, seccomp

_MAX_CPU = 900
"""Seconds of CPU time; the largest component known took 60."""

_MAX_OUTPUT = 4 << 30
"""Bytes of code."""

_FOR_PROGRAM = {"wasi-http-server": "to serve HTTP", "wasi-0.3": "for WASI 0.3"}
"""What the embedded engine has not, and how that is said."""


def main(arguments: list[str]) -> None:
    """Compile stdin to stdout and exit.

    `arguments`: for which engine, `plain` or `bounded`; then, where there is one, the path of the
    `wasmtime` command behind that of its loader, which may be empty.
    """
    engine = embedded.Engine(mapped_memory=arguments[0] != "bounded")
    resource.setrlimit(resource.RLIMIT_CPU, (_MAX_CPU, _MAX_CPU))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_OUTPUT, _MAX_OUTPUT))
    capabilities.set_no_new_privs()
    seccomp.install(seccomp.build(allow_sockets=False, becomes_program=True))
    try:
        with open(0, "rb", closefd=False) as source:
            content = source.read()
        _say(hashlib.sha256(content).hexdigest())
        kind = wasm.sniff(content[:4096])
        if kind is None:
            raise wasm.InvalidWasm(_what_else(content))
        if kind == "text":
            content = embedded.to_binary(content)
            kind = wasm.sniff(content[:8])
        found = wasm.inspect(content)
        facts = _facts(found)
        if facts.hosted:
            _have_compiled(content, found, facts, arguments[1:])
        if found.kind == "module" and found.has_start:
            content = wasm.defer_start(content)
        code = engine.compile(content, kind == "component")
    except (wasm.InvalidWasm, GuestError) as error:
        reason = " ".join(str(error).split())
        _say(f"not a valid WebAssembly program: {reason}"[:500])
        os._exit(1)
    view = memoryview(code)
    while view:
        view = view[os.write(1, view) :]
    _say(msgspec.json.encode(facts).decode())
    os._exit(0)


def _facts(found: wasm.WasmFile) -> Facts:
    return Facts(
        component=found.kind == "component",
        sockets=found.imports_sockets or found.world == "http",
        reads_pwd="Go" in found.languages,
        world=found.world,
        files=found.imports_files,
        hosted=not found.needs.isdisjoint(_FOR_PROGRAM),
        socket_imports=tuple(_socket_imports(found)),
    )


def _have_compiled(
    content: bytes, found: wasm.WasmFile, facts: Facts, program: list[str]
) -> NoReturn:
    """Become the `wasmtime` command, which compiles `content`."""
    if not program:
        _say(next(reason for need, reason in _FOR_PROGRAM.items() if need in found.needs))
        os._exit(NEEDS_PROGRAM)
    _say(msgspec.json.encode(facts).decode())
    source = os.memfd_create("component", 0)
    with open(source, "wb", closefd=False) as file:
        file.write(content)
    loader, path = program
    argv = [loader, path] if loader else [path]
    argv += words.compiling(f"/proc/self/fd/{source}", "/proc/self/fd/1")
    # By its descriptor: the filter lets no path be executed.
    started = os.open(argv[0], os.O_RDONLY | os.O_CLOEXEC)
    os.execve(started, argv, words.OWN)  # noqa: S606


def _socket_imports(found: wasm.WasmFile) -> Iterator[tuple[str, str]]:
    letters = {"i32": "i", "i64": "I"}
    for item in found.imports:
        about_sockets = item.name.startswith("sock_") or item.name == "epoll_oneoff"
        if item.module == "wasi_snapshot_preview1" and about_sockets and item.type is not None:
            yield item.name, "".join(letters.get(kind, "?") for kind in item.type.parameters)


def _what_else(content: bytes) -> str:
    if not content:
        return "the file is empty"
    if content[:4] == b"\x7fELF":
        return "it is a Linux program (ELF), which needs a Linux image and runtime"
    if content[:2] == b"#!":
        return "it is a script; name the interpreter's .wasm file as entrypoint"
    return "it begins neither like a module, nor a component, nor text (.wat)"


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
