"""Networks: what they are, their subnets and addresses, and who is in them.

A network is a row in the engine's file and nothing else. What a container gets of it is in
`wherry.engine.containers.networking`; bridges and interfaces are `wherry.network`'s to make.
"""

from wherry.engine.networks.collection import BRIDGE, HOST, NONE, Networks
from wherry.engine.networks.leases import check_addresses
from wherry.engine.networks.options import parse_options
from wherry.engine.networks.request import decode_connect, decode_disconnect, decode_network

__all__ = [
    "BRIDGE",
    "HOST",
    "NONE",
    "Networks",
    "check_addresses",
    "decode_connect",
    "decode_disconnect",
    "decode_network",
    "parse_options",
]
