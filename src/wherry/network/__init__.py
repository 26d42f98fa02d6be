"""Networks of containers: bridges and addresses, published ports, names.

All of it is done by a helper process that outlives wherryd. Who wants something of it has a
`NetworkClient`, and says what a container is to have (`model`): whole, and as often as it likes.
What is imported for that is light; netlink and DNS are the helper's alone.

The helper (`server`) has a `service` with one `container` for each that is attached. Below them is
what the kernel is told, in `links` (bridges, interfaces, the firewall between them, the fence
around one container, an ordinary user's namespace), and what the helper serves itself: names in
`dns`, published ports in `handover` and `forwarding`.
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
