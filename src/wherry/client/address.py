"""Where a daemon listens: `unix:///path` or `tcp://host:port`; and where wherryd does."""

from __future__ import annotations

import os

from wherry.client.errors import ClientError
from wherry.places import run_folder


class InvalidAddress(ClientError):
    """The text names no place where a daemon could listen."""


class Address:
    """`path` of a unix socket, or `host` and `port` of a TCP one (then `path` is empty)."""

    __slots__ = ("autostart", "host", "path", "port")

    def __init__(
        self, path: str = "", host: str = "", port: int = 0, *, autostart: bool = False
    ) -> None:
        self.path = path
        self.host = host
        self.port = port
        self.autostart = autostart

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"tcp://{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address a person wrote, as Docker's `-H` takes it.

    Raises:
        InvalidAddress: another scheme, no path, or no port number.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = ("unix", text) if text.startswith("/") else ("tcp", text)
    if scheme == "unix" and rest.startswith("/"):
        return Address(path=rest)
    if scheme in ("tcp", "http"):
        host, colon, port = rest.rstrip("/").rpartition(":")
        if colon and port.isdecimal() and 0 < int(port) < 65536:
            return Address(host=host.strip("[]") or "localhost", port=int(port))
        raise InvalidAddress(f"{text}: a port number is missing, write tcp://HOST:PORT")
    raise InvalidAddress(f"{text}: not an address, write unix:///PATH or tcp://HOST:PORT")


def default_address() -> Address:
    """`WHERRY_HOST`, else the socket of this user's own wherryd, started when it is not there."""
    chosen = os.environ.get("WHERRY_HOST")
    if chosen:
        return parse_address(chosen)
    return Address(path=f"{run_folder()}/wherry.sock", autostart=True)
