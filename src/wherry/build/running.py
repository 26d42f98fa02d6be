"""RUN: which program runs, and what there is to know about it beforehand."""

import posixpath
from typing import BinaryIO, cast

import msgspec

from wherry import wasm
from wherry.build import syntax
from wherry.build.errors import BuildError
from wherry.build.files import FileTree, resolve
from wherry.build.metadata import DEFAULT_SHELL, argv, environment
from wherry.build.options import StepFile
from wherry.images.tar import Kind
from wherry.oci import HOST, Platform, RuntimeConfig

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for in an image that does not say."""

_HEAD = 4096
_PIPES = "/dev/pipes"
_HINT = 'use RUN ["/tool.wasm", "argument"] with a Wasm program, or do it in a Linux stage'
_EXAMPLE = "(FROM --platform=$BUILDPLATFORM …) and COPY --from the result"


class Program(msgspec.Struct, frozen=True):
    """What a RUN runs. `files` are its script, if it is one."""

    argv: list[str]
    files: list[StepFile] = []
    wants_network: bool = True
    """Whether it could use one."""


def program(run: syntax.Run, config: RuntimeConfig, root: FileTree, platform: Platform) -> Program:
    """What `run` runs in `root`, a stage for `platform`.

    Raises BuildError if it can be known that it cannot run.
    """
    if platform.is_wasm:
        return _wasm_program(run, config, root)
    if platform.os != HOST.os:
        raise BuildError(f"RUN: the stage is for {platform}, and this machine is {HOST}")
    if run.script is not None:
        target = f"{_PIPES}/{run.script.name}"
        return Program([target], [StepFile(target, run.script.content.encode(), 0o755)])
    words = argv(run.command, config)
    if not words[0]:
        raise BuildError("RUN: the program's name is empty")
    return Program(words)


def _wasm_program(run: syntax.Run, config: RuntimeConfig, root: FileTree) -> Program:
    words = argv(run.command, config)
    if run.script is not None or (run.command.for_shell and tuple(words[:-1]) == DEFAULT_SHELL):
        message = "RUN in the shell form needs Linux, and this stage is for wasi/wasm"
        raise BuildError(f"{message}: {_HINT} {_EXAMPLE}")
    if not words[0]:
        raise BuildError("RUN: the program's name is empty")
    path = _find(words[0], config, root)
    if path is None:
        raise BuildError(f"RUN: there is no {words[0]!r} in the stage: COPY it there first")
    with root.open(path) as file:
        kind = wasm.sniff(file.read(_HEAD))
        if kind is None:
            message = f"RUN: {words[0]!r} is not Wasm and needs Linux"
            raise BuildError(f"{message}, and this stage is for wasi/wasm: {_HINT} {_EXAMPLE}")
        try:
            wants_network = kind != "text" and wasm.inspect(cast("BinaryIO", file)).imports_sockets
        except wasm.InvalidWasm:
            wants_network = False  # its start will fail, and tell why
    return Program(words, wants_network=wants_network)


def _find(program: str, config: RuntimeConfig, root: FileTree) -> str | None:
    """The program as the kernel would find it: from the working directory or along the PATH."""
    folders = [config.working_dir or "/"]
    if "/" not in program:
        folders = environment(config).get("PATH", DEFAULT_PATH).split(":")
    for folder in folders:
        path = resolve(root, posixpath.join(folder, program))
        entry = root.entry(path)
        if entry is not None and entry.kind is Kind.FILE:
            return path
    return None
