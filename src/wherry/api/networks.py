"""Networks."""

from wherry.api.call import MAX_BODY, Call, empty_answer, json_answer
from wherry.api.http import Response
from wherry.engine import NotFound
from wherry.engine.networks import decode_connect, decode_disconnect, decode_network


async def listing(call: Call) -> Response:
    """`docker network ls`."""
    return json_answer(call.engine.networks.list(call.filters()))


async def create(call: Call) -> Response:
    """`docker network create`."""
    wanted = decode_network(await call.body(MAX_BODY))
    return json_answer(call.engine.networks.create(wanted), 201)


async def inspect(call: Call) -> Response:
    """`docker network inspect`."""
    name = call.path["name"]
    if call.text("scope") not in ("", "local"):
        raise NotFound(f"network {name} not found")
    networks = call.engine.networks
    return json_answer(networks.inspect(networks.get(name)))


async def connect(call: Call) -> Response:
    """`docker network connect`."""
    wanted = decode_connect(await call.body(MAX_BODY))
    network = call.engine.networks.get(call.path["name"])
    container = call.engine.containers.get(wanted.container)
    await call.engine.containers.connect(container, network, wanted.endpoint_config)
    return empty_answer(200)


async def disconnect(call: Call) -> Response:
    """`docker network disconnect`."""
    wanted = decode_disconnect(await call.body(MAX_BODY))
    container = call.engine.containers.get(wanted.container)
    await call.engine.containers.disconnect(container, call.path["name"])
    return empty_answer(200)


async def remove(call: Call) -> Response:
    """`docker network rm`."""
    await call.engine.networks.remove(call.engine.networks.get(call.path["name"]))
    return empty_answer()


async def prune(call: Call) -> Response:
    """`docker network prune`, also the first step of `docker system prune`."""
    return json_answer(await call.engine.networks.prune(call.filters()))
