"""What can go wrong between a client and its daemon, each in one line for a person."""

from __future__ import annotations


class ClientError(Exception):
    """The base of all errors of this room; its text is one line for a person."""


class DaemonUnreachable(ClientError):
    """Nobody answers at the address, or the daemon went away in the middle."""


class ProtocolError(ClientError):
    """What came back is not HTTP, or not what the Engine API promises."""


class DaemonError(ClientError):
    """The daemon refused: `status` is the HTTP status, the text is the daemon's own message.

    `exit_code` is what a command that runs a container should end with, where the daemon says so.
    """

    def __init__(self, status: int, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.exit_code = exit_code

    @property
    def is_unknown_call(self) -> bool:
        """Whether the daemon has no such call at all, as another engine or an older one has none.

        A call about something that is not there is another matter, with the same status.
        """
        return self.status == 404 and self.message.lower().startswith("page not found")
