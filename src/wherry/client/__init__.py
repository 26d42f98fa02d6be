"""A thin client of the Docker Engine API over a unix socket or TCP.

It speaks to wherryd, which it starts when nobody listens yet, and as well to any Docker daemon.
Start-up is the product: nothing here imports `json`, `socket`, `http`, `ssl` or `asyncio`; the C
modules beneath them are used directly (see RATIONALE.md).
"""

from wherry.client.address import Address, InvalidAddress, default_address, parse_address
from wherry.client.client import Client
from wherry.client.connection import Response
from wherry.client.errors import ClientError, DaemonError, DaemonUnreachable, ProtocolError
from wherry.client.stream import Stream

__all__ = [
    "Address",
    "Client",
    "ClientError",
    "DaemonError",
    "DaemonUnreachable",
    "InvalidAddress",
    "ProtocolError",
    "Response",
    "Stream",
    "default_address",
    "parse_address",
]
