"""Programs started in a running container: not there yet, and said so."""

from wherry.api._call import Call, Refused
from wherry.api._http import Response
from wherry.api.containers import named
from wherry.engine import NotFound


async def create(call: Call) -> Response:
    """`docker exec`."""
    named(call)
    raise Refused(501, "exec is not available yet: start a container of its own for the command")


async def start(call: Call) -> Response:
    """Run what `create` prepared."""
    raise _unknown(call)


async def resize(call: Call) -> Response:
    """The size of its terminal."""
    raise _unknown(call)


async def inspect(call: Call) -> Response:
    """What has become of it."""
    raise _unknown(call)


def _unknown(call: Call) -> NotFound:
    return NotFound(f"no such exec instance: {call.path['id']}")
