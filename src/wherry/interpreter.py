"""Python interpreters for wherry's own processes: how one starts, what it goes without."""

import os
import sys


def command(module: str, *arguments: str) -> list[str]:
    """The argument vector that runs `main(arguments)` of `module` in a fresh interpreter.

    Isolated and without `site`: that saves 3 ms, and nothing of the user's environment gets in.
    """
    path = [entry for entry in sys.path if entry and os.path.isabs(entry)]
    code = f"import sys; sys.path[:] = {path!r}; from {module} import main; main(sys.argv[1:])"
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


def forgo(*modules: str) -> None:
    """Keep `modules` from being imported: who asks for one is told that it is not there.

    For what the packages used here look for and do as well without: msgspec looks into
    `typing_extensions` for a name that `typing` has, a fifth of what a short command imports;
    hashlib has its own digests beside OpenSSL's.
    """
    for module in modules:
        sys.modules[module] = None  # type: ignore[assignment]


def import_without(module: str, *unwanted: str) -> None:
    """Import `module`, which is to go without `unwanted`; others may have those afterwards."""
    kept = [name for name in unwanted if name not in sys.modules]
    forgo(*kept)
    try:
        __import__(module)
    finally:
        for name in kept:
            del sys.modules[name]
