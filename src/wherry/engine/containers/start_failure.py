"""Why a process could not be started, with Docker's exit code for it."""

from wherry.engine.errors import StartFailed
from wherry.shim.client import TaskError

_CODES = {"NOT_FOUND": 127, "INVALID_ARGUMENT": 126}
_WORDS = {127: "no such file or directory", 126: "permission denied"}
"""By these the docker CLI knows which exit code to give."""


_SAID = (
    (127, ("no such file or directory", "executable file not found")),
    (126, ("permission denied", "exec format error", "is a directory")),
)
"""What other runtimes say, whose shims have one code for all failures."""


def start_failed(error: Exception, *, otherwise: int = 125) -> StartFailed:
    """`error` as what a person is told; `otherwise` is the exit code where no other fits."""
    if isinstance(error, StartFailed):
        return error
    if isinstance(error, OSError):
        return StartFailed(f"{error.filename or 'the container'}: {error.strerror}", otherwise)
    message = " ".join(str(error).split())
    if not isinstance(error, TaskError):
        return StartFailed(message, otherwise)
    exit_code = _CODES.get(error.code)
    if exit_code is None:
        said = (code for code, words in _SAID if any(word in message for word in words))
        return StartFailed(message, next(said, otherwise))
    word = _WORDS[exit_code]
    return StartFailed(message if word in message else f"{message}: {word}", exit_code)
