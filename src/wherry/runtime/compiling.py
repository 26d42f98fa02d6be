"""Having a module compiled: what the compiler's process is given and what is made of its answer."""

import contextlib
import hashlib
import os
import subprocess
import tempfile
from typing import BinaryIO, NamedTuple

import msgspec

from wherry.interpreter import command
from wherry.runtime.engines.host import HostProgram
from wherry.runtime.exits import ENGINE_FAILED, NOT_RUNNABLE, LaunchError
from wherry.runtime.facts import NEEDS_PROGRAM, Entry, Facts, mode_of


class ProgramNeeded(Exception):
    """A module was to be compiled that only the `wasmtime` command can run; says what for."""


class Compiled(NamedTuple):
    """A file of code that has no place yet."""

    path: str
    entry: Entry


def compile_module(
    source: BinaryIO,
    digest: str,
    folder: str,
    name: str,
    *,
    bounded: bool,
    program: HostProgram | None,
) -> Compiled:
    """Compile `source`, which has that digest, into a new file in `folder`.

    `name` is what people call it, `bounded` as for `CodeCache.get`, `program` the `wasmtime`
    command if there is one. Raises LaunchError, and ProgramNeeded if there is none.
    """
    arguments = ["bounded" if bounded else "plain"]
    if program is not None:
        arguments += [program.loader, program.path]
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as output:
        try:
            process = subprocess.run(
                command("wherry.runtime.compiler", *arguments),
                stdin=source,
                stdout=output,
                stderr=subprocess.PIPE,
                env={"PATH": os.defpath},
                check=False,
            )
            said = process.stderr.decode(errors="replace").strip().splitlines()
            if said and said[0] != digest and process.returncode in (0, 1, NEEDS_PROGRAM):
                # Else the code of one module would be kept, for everybody, under another's digest.
                raise LaunchError(f"{name} was changed while it was compiled", NOT_RUNNABLE)
            if process.returncode == NEEDS_PROGRAM and said:
                raise ProgramNeeded(said[-1])
            if process.returncode == 1 and len(said) > 2:  # the command's words, line by line
                reason = " ".join(" ".join(said[2:]).split())[:500]
                raise LaunchError(
                    f"{name}: not a valid WebAssembly program: {reason}", NOT_RUNNABLE
                )
            if process.returncode == 1 and said:
                raise LaunchError(f"{name}: {said[-1]}", NOT_RUNNABLE)
            if process.returncode != 0 or len(said) < 2:
                raise LaunchError(
                    f"{name}: the compiler ended with status {process.returncode}"
                    + (f": {said[-1]}" if said else ""),
                    ENGINE_FAILED,
                )
            os.fsync(output.fileno())
            stored = os.fstat(output.fileno())
            with open(output.name, "rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            facts = msgspec.json.decode(said[1], type=Facts)
            os.fchmod(output.fileno(), mode_of(facts))
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(output.name)
            raise
    entry = Entry(inode=stored.st_ino, size=stored.st_size, sha256=sha256, facts=facts)
    return Compiled(output.name, entry)
