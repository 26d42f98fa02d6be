"""What shim, zygote and container process say to each other over SOCK_SEQPACKET sockets.

One packet is one message; descriptors travel beside it. The zygote gets `Fork` (with stdin, stdout,
stderr and the container's end of a control socket) or `Join` (with a pidfd of the container and a
file that describes the process as well) and answers `Forked` (with a pidfd). The container then
speaks for itself on its control socket: `NeedCode` (with the module's descriptor) is answered by
`Code` (with the code's), `NeedPorts` by `Ports`, and creation ends with `Ready` or `Failed`. A
packet of one byte is the number of a signal that reached the process directly.
"""

import array
import socket
from typing import TypeVar

import msgspec

from wherry.oci.runtime import Mount
from wherry.runtime.engines.host import HostProgram
from wherry.runtime.facts import Facts

MAX_PACKET = 200_000
"""Bytes, below the kernel's default limit for a packet."""

START = b"\0"
"""What the shim sends to let a container go on: after its hooks, and when it is to run."""

OUT_OF_MEMORY = b"\0"
"""What a guest's process sends, among the numbers of signals, when it dies of refused memory."""


class Fork(msgspec.Struct, tag=True):
    """Make a container's process."""

    id: str
    bundle: str
    rootfs: list[Mount]
    procs_files: list[str]
    namespaces: int
    """CLONE_NEW… flags."""
    pids: str = ""
    """Path of the pid namespace that the process is to be born in; empty for a new or our own."""


class Join(msgspec.Struct, tag=True):
    """Make a further process in a running container."""

    bundle: str
    rootfs: list[Mount]
    """As for `Fork`; looked at only where there are no namespaces to join."""
    procs_files: list[str]
    container: int
    """Pid of its first process, as the zygote sees it."""


class Forked(msgspec.Struct, tag=True):
    """The process is there (`pid`, as the zygote sees it), or `error` says why it is not."""

    pid: int = 0
    error: str = ""


class NeedCode(msgspec.Struct, tag=True):
    """Code is wanted for the module whose descriptor comes along; `name` is for messages."""

    name: str
    bounded: bool
    """Whether it is for an engine with a limit on memory."""


class Code(msgspec.Struct, tag=True):
    """Compiled code comes along as a descriptor; for a program of the host its path does, too."""

    facts: Facts
    program: HostProgram | None = None
    path: str = ""


class NeedPorts(msgspec.Struct, tag=True):
    """The ports that the container's image exposes are wanted, for its bundle does not tell."""


class Ports(msgspec.Struct, tag=True):
    """Exposed ports like "8080/tcp"; none if nobody knows of any."""

    exposed: list[str]


class Built(msgspec.Struct, tag=True):
    """The sandbox stands but is not entered: now hooks run, and START says that it may go on."""


class Ready(msgspec.Struct, tag=True):
    """The sandbox stands and the module is loaded."""


class Failed(msgspec.Struct, tag=True):
    """The container cannot run. `exit_code` is Docker's 125, 126 or 127."""

    message: str
    exit_code: int


Message = Fork | Join | Forked | NeedCode | Code | NeedPorts | Ports | Built | Ready | Failed
_decoder: "msgspec.msgpack.Decoder[Message]" = msgspec.msgpack.Decoder(Message)
_encoder = msgspec.msgpack.Encoder()

M = TypeVar("M")


def send(channel: socket.socket, message: Message, descriptors: list[int] | None = None) -> None:
    """Send one message. Raises OSError; EMSGSIZE if it is longer than a packet can be."""
    ancillary = []
    if descriptors:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    channel.sendmsg([_encoder.encode(message)], ancillary, socket.MSG_NOSIGNAL)


def receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """Receive one packet and its descriptors (close-on-exec); empty when the peer is gone."""
    packet, ancillary, _, _ = channel.recvmsg(
        MAX_PACKET, socket.CMSG_SPACE(8 * 4), socket.MSG_CMSG_CLOEXEC
    )
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return packet, descriptors.tolist()


def decode(packet: bytes, kind: type[M]) -> M:
    """Decode a packet that must be a `kind`. Raises msgspec.DecodeError or TypeError."""
    message = _decoder.decode(packet)
    if not isinstance(message, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(message).__name__}")
    return message


def decode_any(packet: bytes) -> Message:
    """Decode a packet of any kind. Raises msgspec.DecodeError."""
    return _decoder.decode(packet)
