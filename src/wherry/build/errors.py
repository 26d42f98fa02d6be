"""What goes wrong in a build, as the person who wrote the Dockerfile should read it."""


class BuildError(Exception):
    """A build cannot go on.

    `message` is one line: what was wrong and what to do. `file` and `line` (from 1) say where;
    they are empty and 0 when no line of a Dockerfile is to blame. `code` is the exit code of a
    program that failed, or 1; `classic` what Docker's classic builder says of such a one.
    """

    def __init__(
        self, message: str, file: str = "", line: int = 0, *, code: int = 1, classic: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.code = code
        self.classic = classic

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else self.message

    def at(self, file: str, line: int) -> "BuildError":
        """The same error with a place, unless it has one already."""
        if self.line:
            return self
        return BuildError(self.message, file, line, code=self.code, classic=self.classic)
