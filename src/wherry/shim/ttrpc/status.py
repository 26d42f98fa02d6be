"""How a call ends when it fails: a gRPC status code and a line of text."""

from enum import IntEnum

from wherry.shim.protobuf import Message, sint, string


class Code(IntEnum):
    """gRPC status codes (https://grpc.io/docs/guides/status-codes)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Status(Message):
    """google.rpc.Status."""

    code: int = sint(1)
    message: str = string(2)


class CallError(Exception):
    """A call that failed: raised by handlers in the server, and by calls in the client."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
