"""Why a process could not be started, with Docker's exit code for it."""

from wherry.engine.errors import StartFailed
from wherry.shim.client import TaskError

_CODES = {"NOT_FOUND": 127, "INVALID_ARGUMENT": 126}
_WORDS = {127: "no such file or directory", 126: "permission denied"}
"""By these the docker CLI knows which exit code to give."""


def start_failed(error: Exception, *, otherwise: int = 125) -> StartFailed:
    """`error` as what a person is told; `otherwise` is the exit code where no other fits."""
    if isinstance(error, StartFailed):
        return error
    exit_code = otherwise
    if isinstance(error, TaskError):
        exit_code = _CODES.get(error.code, otherwise)
        message = error.message
    elif isinstance(error, OSError):
        message = f"{error.filename or 'the container'}: {error.strerror}"
    else:
        message = str(error)
    message = " ".join(message.split())
    word = _WORDS.get(exit_code, "") if isinstance(error, TaskError) else ""
    if word not in message:
        message = f"{message}: {word}"
    return StartFailed(message, exit_code)
