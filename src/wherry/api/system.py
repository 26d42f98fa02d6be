"""The engine as a whole."""

from contextlib import aclosing, closing

from wherry.api.call import CURRENT, OLDEST, Call, JsonStream, Version, json_answer
from wherry.api.http import Response, StreamResponse
from wherry.api.virtual_size import tell_virtual_size

_API = f"{CURRENT[0]}.{CURRENT[1]}"
_WITHOUT_NETFILTER: Version = (1, 50)
"""Since then `info` does not tell whether bridges pass by the firewall."""
_MIN_API = f"{OLDEST[0]}.{OLDEST[1]}"


async def version(call: Call) -> Response:
    """`docker version`."""
    return json_answer(call.engine.system.version(api=_API, oldest_api=_MIN_API))


async def info(call: Call) -> Response:
    """`docker info`."""
    found = await call.engine.system.info()
    if call.version >= _WITHOUT_NETFILTER:
        del found["BridgeNfIptables"], found["BridgeNfIp6tables"]
    return json_answer(found)


async def usage(call: Call) -> Response:
    """`docker system df`."""
    found = await call.engine.system.usage(call.texts("type"))
    tell_virtual_size(call, found.images or ())
    return json_answer(found)


async def check(call: Call) -> StreamResponse:
    """`wherry system check`."""
    return await _checking(call, repair=False)


async def repair(call: Call) -> StreamResponse:
    """`wherry system check --repair`."""
    return await _checking(call, repair=True)


async def _checking(call: Call, *, repair: bool) -> StreamResponse:
    answer = await JsonStream(call).open()
    async with aclosing(call.engine.system.check(repair=repair)) as found:
        async for event in found:
            await answer.send(event)
    return await answer.close()


async def events(call: Call) -> StreamResponse:
    """`docker events`."""
    subscription = call.engine.events.subscribe(
        call.filters(), since=call.seconds("since"), until=call.seconds("until")
    )
    with closing(subscription):
        answer = await JsonStream(call).open()
        async for event in subscription:
            await answer.send(event)
    return await answer.close()
