"""Networks of containers: bridges and addresses, published ports, names.

All of it is done by a helper process (`wherry.network.server`) that outlives wherryd; who wants
something of it has a `NetworkClient`. What is imported here is light; netlink and DNS are the
helper's alone.
"""

from wherry.network.client import NetworkClient
from wherry.network.errors import NetworkError, PortInUse
from wherry.network.model import Attachment, Network, Publication, Sandbox, Subnet

__all__ = [
    "Attachment",
    "Network",
    "NetworkClient",
    "NetworkError",
    "PortInUse",
    "Publication",
    "Sandbox",
    "Subnet",
]
