"""A container's place in networks: what is asked for, what it is given, what people see of it.

What is asked for is checked once, when the container is made (`plan`, `ports`, `links`). At each
start it is given addresses, ports and files, and they are taken back at its end: `plugging` has the
order of that. A program that could not use a network gets none (`programs`). While the container
runs its networks may change (`connections`), and what an engine or a helper that died has left is
put right (`mending`). The networks themselves are in `wherry.engine.networks`.
"""

from wherry.engine.containers.networking.connections import Connections
from wherry.engine.containers.networking.mending import Mending
from wherry.engine.containers.networking.plan import check_egress, egress_rules, plan_networks
from wherry.engine.containers.networking.plugging import Networking, Wiring
from wherry.engine.containers.networking.ports import (
    Port,
    exposed_ports,
    parse_ports,
    wished_ports,
)
from wherry.engine.containers.networking.settings import (
    endpoints,
    listed_ports,
    network_settings,
)

__all__ = [
    "Connections",
    "Mending",
    "Networking",
    "Port",
    "Wiring",
    "check_egress",
    "egress_rules",
    "endpoints",
    "exposed_ports",
    "listed_ports",
    "network_settings",
    "parse_ports",
    "plan_networks",
    "wished_ports",
]
