"""Finding the program a container is to run."""

import os
import stat

import msgspec

from wherry import wasm
from wherry.oci import runtime as spec
from wherry.runtime.exits import NOT_FOUND, NOT_RUNNABLE, LaunchError
from wherry.runtime.sandbox import syscalls as sys

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"

_MAGIC = b"\0asm"
_WASM_SUFFIXES = (".wasm", ".wat", ".wast", ".cwasm")
_HEAD = 4096
"""Bytes in which text (.wat) is told from anything else; it may begin with comments."""


_INITS = ("/sbin/docker-init", "/run/podman-init", "/dev/init")
"""Where Docker and Podman, now and earlier, put the init that `--init` asks for."""


def without_init(process: spec.Process) -> spec.Process:
    """`process` without the init of `--init`: a guest makes no processes that it could reap.

    A Linux program still gets its init, because its bundle is handed on as it is.
    """
    args = process.args or []
    if len(args) < 3 or args[0] not in _INITS or args[1] != "--":
        return process
    return msgspec.structs.replace(process, args=args[2:])


def open_program(root: int, process: spec.Process) -> tuple[int, str]:
    """Open the program named by `process.args[0]` inside `root`; returns it and its path.

    A bare name is looked for in the working directory, at the root and along PATH. Raises
    LaunchError (127 if there is none, 126 if it is no file that can be read).
    """
    if not process.args:
        raise LaunchError("the bundle names no program to run (process.args)", NOT_FOUND)
    name = process.args[0]
    other = False
    for candidate in _candidates(name, process):
        try:
            # O_NONBLOCK: a FIFO in the image must not hold up the open.
            program = sys.openat2(root, candidate, os.O_RDONLY | os.O_NONBLOCK, sys.RESOLVE_IN_ROOT)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise LaunchError(f'exec: "{name}": {error.strerror}', NOT_RUNNABLE) from None
        if stat.S_ISREG(os.fstat(program).st_mode):
            return program, candidate
        os.close(program)
        other = True
    if other:
        raise LaunchError(f'exec: "{name}": is not a file', NOT_RUNNABLE)
    raise LaunchError(f'exec: "{name}": no such file or directory in the container', NOT_FOUND)


def is_meant_as_wasm(program: int, name: str) -> bool:
    """Whether the file open as `program` is Wasm, or a damaged module: by its beginning, or name.

    What is meant as Wasm and is none is an error worth telling; all else is a Linux program.
    """
    head = os.pread(program, _HEAD, 0)
    return head.startswith(_MAGIC) or wasm.sniff(head) is not None or name.endswith(_WASM_SUFFIXES)


def _candidates(name: str, process: spec.Process) -> list[str]:
    if name.startswith("/"):
        return [name]
    candidates = [os.path.join(process.cwd or "/", name), f"/{name}"]
    if "/" not in name:
        entries = (entry for entry in process.env or () if entry.startswith("PATH="))
        path = next(entries, f"PATH={_DEFAULT_PATH}").removeprefix("PATH=")
        candidates += [os.path.join(folder, name) for folder in path.split(":") if folder]
    return candidates
