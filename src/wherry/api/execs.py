"""Programs started in a running container: not there yet, and said so."""

from aiohttp import web

from wherry.api._call import Call, Refused
from wherry.api.containers import named
from wherry.engine import NotFound


async def create(call: Call) -> web.Response:
    """`docker exec`."""
    named(call)
    raise Refused(501, "exec is not available yet: start a container of its own for the command")


async def start(call: Call) -> web.Response:
    """Run what `create` prepared."""
    raise _unknown(call)


async def resize(call: Call) -> web.Response:
    """The size of its terminal."""
    raise _unknown(call)


async def inspect(call: Call) -> web.Response:
    """What has become of it."""
    raise _unknown(call)


def _unknown(call: Call) -> NotFound:
    return NotFound(f"no such exec instance: {call.path['id']}")
