"""The compiler process: a module on stdin becomes code on stdout.

Compiling is the one time that a program of wherry's reads a hostile module in depth, so it happens
in a process that can do nothing else: no new privileges, no sockets, bounded time and output. It
says two lines on stderr: the digest of what it has read, for a module may change meanwhile; and
what the code is (status 0) or what is wrong with the module (status 1).
"""

import hashlib
import os
import resource
import sys

import msgspec

from wherry import wasm
from wherry.runtime.engines import embedded
from wherry.runtime.engines.capi import GuestError
from wherry.runtime.facts import Facts
from wherry.runtime.sandbox import capabilities, seccomp

_MAX_CPU = 900
"""Seconds of CPU time; the largest component known took 60."""

_MAX_OUTPUT = 4 << 30
"""Bytes of code."""


def main(arguments: list[str]) -> None:
    """Compile stdin to stdout and exit; `arguments`: for which engine, `plain` or `bounded`."""
    engine = embedded.Engine(mapped_memory=arguments != ["bounded"])
    resource.setrlimit(resource.RLIMIT_CPU, (_MAX_CPU, _MAX_CPU))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_OUTPUT, _MAX_OUTPUT))
    capabilities.set_no_new_privs()
    seccomp.install(seccomp.build(allow_sockets=False))
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
        code = engine.compile(content, kind == "component")
    except (wasm.InvalidWasm, GuestError) as error:
        reason = " ".join(str(error).split())
        _say(f"not a valid WebAssembly program: {reason}"[:500])
        os._exit(1)
    view = memoryview(code)
    while view:
        view = view[os.write(1, view) :]
    facts = Facts(
        component=kind == "component",
        sockets=found.imports_sockets,
        reads_pwd="Go" in found.languages,
    )
    _say(msgspec.json.encode(facts).decode())
    os._exit(0)


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
