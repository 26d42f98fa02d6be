"""Containers: their life, in one request each."""

from wherry.api.call import MAX_BODY, Call, Version, empty_answer, json_answer
from wherry.api.http import Response
from wherry.api.signatures import verify_key
from wherry.engine.config import HostConfig, decode_create, decode_update
from wherry.engine.containers import Container

_WARNS: Version = (1, 48)
"""Since then it is the engine, not the docker command, that warns of a driver without effect."""


def named(call: Call) -> Container:
    """The container that the path names. Raises NotFound."""
    return call.engine.containers.get(call.path["name"])


async def listing(call: Call) -> Response:
    """`docker ps`."""
    found = await call.engine.containers.list(
        all=call.flag("all"),
        filters=call.filters(),
        limit=call.number("limit") or 0,
        size=call.flag("size"),
    )
    return json_answer(found)


async def create(call: Call) -> Response:
    """`docker create`."""
    config, host, networking = decode_create(await call.body(MAX_BODY))
    result = await call.engine.containers.create(
        config,
        host,
        networking,
        name=call.text("name") or None,
        platform=call.text("platform") or None,
        verify_key=verify_key(call),
    )
    if call.version >= _WARNS and (warning := _ignored_driver(host)):
        result.warnings.append(warning)
    return json_answer(result, 201)


async def inspect(call: Call) -> Response:
    """`docker inspect`."""
    return json_answer(await call.engine.containers.inspect(named(call), size=call.flag("size")))


async def start(call: Call) -> Response:
    """`docker start`."""
    await call.engine.containers.start(named(call))
    return empty_answer()


async def stop(call: Call) -> Response:
    """`docker stop`."""
    await call.engine.containers.stop(
        named(call), grace=call.number("t"), signal=call.text("signal") or None
    )
    return empty_answer()


async def restart(call: Call) -> Response:
    """`docker restart`."""
    await call.engine.containers.restart(
        named(call), grace=call.number("t"), signal=call.text("signal") or None
    )
    return empty_answer()


async def kill(call: Call) -> Response:
    """`docker kill`."""
    await call.engine.containers.kill(named(call), call.text("signal") or "SIGKILL")
    return empty_answer()


async def pause(call: Call) -> Response:
    """`docker pause`."""
    await call.engine.containers.pause(named(call))
    return empty_answer()


async def unpause(call: Call) -> Response:
    """`docker unpause`."""
    await call.engine.containers.unpause(named(call))
    return empty_answer()


async def rename(call: Call) -> Response:
    """`docker rename`."""
    await call.engine.containers.rename(named(call), call.text("name"))
    return empty_answer()


async def update(call: Call) -> Response:
    """`docker update`."""
    changes = decode_update(await call.body(MAX_BODY))
    return json_answer(await call.engine.containers.update(named(call), changes))


async def resize(call: Call) -> Response:
    """The terminal's new size, in characters."""
    height, width = call.number("h") or 0, call.number("w") or 0
    await call.engine.containers.resize(named(call), height, width)
    return empty_answer(200)


async def remove(call: Call) -> Response:
    """`docker rm`."""
    await call.engine.containers.remove(
        named(call), force=call.flag("force"), volumes=call.flag("v")
    )
    return empty_answer()


async def prune(call: Call) -> Response:
    """`docker container prune`."""
    return json_answer(await call.engine.containers.prune(call.filters()))


async def top(call: Call) -> Response:
    """`docker top`."""
    arguments = call.text("ps_args") or "-ef"
    return json_answer(await call.engine.containers.top(named(call), arguments))


async def changes(call: Call) -> Response:
    """`docker diff`. Docker answers null when nothing has changed."""
    return json_answer(await call.engine.containers.changes(named(call)) or None)


def _ignored_driver(host: HostConfig) -> str:
    """A warning in Docker's words where `--volume-driver` has no effect on what is mounted."""
    for mount in host.mounts or ():
        options = mount.volume_options
        own = options and options.driver_config and options.driver_config.name
        if host.volume_driver and mount.type == "volume" and not own:
            return (
                "WARNING: the container-wide volume-driver configuration is ignored for volumes "
                "specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead"
            )
    return ""
