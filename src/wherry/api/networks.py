"""Networks: the two that every container can have without one being made."""

import hashlib
from typing import Any

from wherry.api._call import Call, Refused, json_answer
from wherry.api._http import Response
from wherry.engine import NotFound

_BEGINNING = "0001-01-01T00:00:00Z"


def _network(name: str) -> dict[str, Any]:
    return {
        "Name": name,
        "Id": hashlib.sha256(f"wherry network {name}".encode()).hexdigest(),
        "Created": _BEGINNING,
        "Scope": "local",
        "Driver": "null" if name == "none" else name,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {},
    }


_NETWORKS = (_network("host"), _network("none"))


async def listing(call: Call) -> Response:
    """`docker network ls`."""
    filters = call.filters()
    filters.check({"dangling", "driver", "id", "label", "name", "scope", "type"})
    names, ids = filters.get("name"), filters.get("id")
    found = [
        network
        for network in _NETWORKS
        if (not names or any(name in network["Name"] for name in names))
        and (not ids or any(network["Id"].startswith(each) for each in ids))
        and filters.accepts("driver", network["Driver"])
        and filters.accepts("scope", "local")
        and filters.accepts("type", "builtin")
        and filters.accepts("dangling", "false")
        and "label" not in filters
    ]
    return json_answer(found)


async def inspect(call: Call) -> Response:
    """`docker network inspect`."""
    name = call.path["name"]
    for network in _NETWORKS:
        if name == network["Name"] or (len(name) >= 4 and network["Id"].startswith(name)):
            return json_answer(network)
    raise NotFound(f"network {name} not found")


async def create(call: Call) -> Response:
    """`docker network create`."""
    raise Refused(501, "wherry makes no networks yet; containers may use 'none' or 'host'")


async def prune(call: Call) -> Response:
    """`docker network prune`, also the first step of `docker system prune`."""
    return json_answer({"NetworksDeleted": None})
