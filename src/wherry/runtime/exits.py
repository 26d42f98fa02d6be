"""Exit codes, as Docker has them, and the errors that carry them."""

ENGINE_FAILED = 125
NOT_RUNNABLE = 126
NOT_FOUND = 127
TRAPPED = 134
SIGNALLED = 128
"""Added to the number of the signal that ended a container."""


class LaunchError(Exception):
    """A container could not be made ready to run. `exit_code` is 125, 126 or 127.

    The message is one line that steers no terminal, whatever an image put into it.
    """

    def __init__(self, message: str, exit_code: int = ENGINE_FAILED) -> None:
        if not message.isprintable():
            message = "".join(c if c.isprintable() else "?" for c in message)
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


class NotWasm(LaunchError):
    """The program of a container is a file, but no Wasm: for a Linux runtime, perhaps."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is no WebAssembly program", NOT_RUNNABLE)
        self.name = name


class ContainerEnded(LaunchError):
    """A further process was to be made in a container that has ended."""
