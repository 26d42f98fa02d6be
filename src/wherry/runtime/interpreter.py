"""Starting another Python interpreter for one of the runtime's own processes."""

import os
import sys


def command(module: str, *arguments: str) -> list[str]:
    """The argument vector that runs `main(arguments)` of `module` in a fresh interpreter.

    Isolated and without `site`: that saves 3 ms, and nothing of the user's environment gets in.
    """
    path = [entry for entry in sys.path if entry and os.path.isabs(entry)]
    code = f"import sys; sys.path[:] = {path!r}; from {module} import main; main(sys.argv[1:])"
    return [sys.executable, "-I", "-S", "-c", code, *arguments]
