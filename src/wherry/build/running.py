"""RUN: a Wasm program, found in the stage's own files and run there by the engine."""

import posixpath

from wherry import wasm
from wherry.build import syntax
from wherry.build.errors import BuildError
from wherry.build.files import FileTree, resolve
from wherry.build.metadata import DEFAULT_SHELL, argv, environment
from wherry.images.tar import Kind
from wherry.oci import RuntimeConfig

_HEAD = 4096
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HINT = 'use RUN ["/tool.wasm", "argument"] with a Wasm program, or COPY the finished result'


def command(run: syntax.Run, config: RuntimeConfig, root: FileTree) -> list[str]:
    """The words that `run` runs in `root`.

    Raises BuildError unless they begin with a Wasm program that is there.
    """
    if run.flags:
        raise BuildError(f"RUN {run.flags[0]} is not supported yet: leave it out")
    words = argv(run.command, config)
    if run.command.for_shell and tuple(words[:-1]) == DEFAULT_SHELL:
        raise BuildError(f"RUN in the shell form needs Linux, which is not supported yet: {_HINT}")
    if not words[0]:
        raise BuildError("RUN: the program's name is empty")
    path = _find(words[0], config, root)
    if path is None:
        raise BuildError(f"RUN: there is no {words[0]!r} in the stage: COPY it there first")
    with root.open(path) as file:
        kind = wasm.sniff(file.read(_HEAD))
    if kind is None:
        message = f"RUN: {words[0]!r} is not Wasm and needs Linux, which is not supported yet"
        raise BuildError(f"{message}: {_HINT}")
    return words


def _find(program: str, config: RuntimeConfig, root: FileTree) -> str | None:
    """The program as the kernel would find it: from the working directory or along the PATH."""
    folders = [config.working_dir or "/"]
    if "/" not in program:
        folders = environment(config).get("PATH", _DEFAULT_PATH).split(":")
    for folder in folders:
        path = resolve(root, posixpath.join(folder, program))
        entry = root.entry(path)
        if entry is not None and entry.kind is Kind.FILE:
            return path
    return None
