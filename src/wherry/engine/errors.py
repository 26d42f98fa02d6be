"""What the engine refuses or fails to do. Every message is one line for a person to read."""


class EngineError(Exception):
    """Something failed in the engine or below it (HTTP 500)."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(EngineError):
    """The request itself makes no sense (HTTP 400)."""


class NotFound(EngineError):
    """No container, image, volume or path of that name (HTTP 404)."""


class Conflict(EngineError):
    """The name is in use, or the object is in a state that does not allow this (HTTP 409)."""


class NotModified(EngineError):
    """There was nothing to do: started already, stopped already (HTTP 304)."""


class Forbidden(EngineError):
    """The engine will not do this to a thing of this kind (HTTP 403)."""


class Unauthorized(EngineError):
    """A registry wants other credentials, or gives nothing to these (HTTP 401)."""


class NetworkRefused(EngineError):
    """A container cannot have the network it asks for: a port is in use, say (HTTP 500)."""


class StartFailed(InvalidRequest):
    """The container could not be started; `exit_code` is 125, 126 or 127, as Docker has them.

    The message holds the words by which the docker CLI tells the codes apart ("no such file or
    directory" for 127, "permission denied" or "exec format error" for 126).
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class BuildFailed(InvalidRequest):
    """A build cannot go on; `exit_code` is that of the program that failed in it, or 1.

    `classic` is what Docker's classic builder says of a program that failed.
    """

    def __init__(self, message: str, exit_code: int, classic: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.classic = classic


class StateInUse(EngineError):
    """Another engine works on the same state."""
