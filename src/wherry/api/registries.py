"""Registries: pull, push, search, logins, and what is there under a name."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from wherry.api.call import Call, JsonStream, Refused, json_answer
from wherry.api.credentials import AuthConfig, registry_auth, registry_config
from wherry.api.http import Response, StreamResponse
from wherry.api.signatures import verify_key
from wherry.engine import EngineError, InvalidRequest

if TYPE_CHECKING:
    from wherry.engine.images.flow import Event

_MOST_FOUND = 100
_USUALLY_FOUND = 25


async def pull(call: Call) -> StreamResponse:
    """`docker pull`. Without a tag, and with none in the name, every tag there is.

    Logins for mirrors come in X-Registry-Config, as for a build: that is wherry's own.
    """
    if call.text("fromSrc"):
        raise Refused(501, "import is not available: use 'wherry load' or 'wherry build'")
    name, tag = call.text("fromImage"), call.text("tag")
    if not name:
        raise InvalidRequest("no image was named")
    if tag:
        name = f"{name}{'@' if ':' in tag else ':'}{tag}"
    has_tag = bool(tag) or "@" in name or ":" in name.rpartition("/")[2]
    transfers = await call.engine.images.transfers()
    return await told(
        call,
        transfers.pulls.pull(
            name,
            call.text("platform"),
            registry_auth(call),
            mirrors=registry_config(call),
            all_tags=not has_tag,
            verify_key=verify_key(call),
        ),
    )


async def push(call: Call) -> StreamResponse:
    """`docker push`. Without a tag all that the name has.

    With `artifact`, which is wherry's own, the program of the image of that name or id is sent as
    a Wasm artifact.
    """
    name, tag, source = call.path["name"], call.text("tag"), call.text("artifact")
    platform, login = call.text("platform"), registry_auth(call)
    pushes = (await call.engine.images.transfers()).pushes
    if source:
        return await told(call, pushes.push_artifact(name, tag, source, platform, login))
    return await told(call, pushes.push(name, tag, platform, login))


async def search(call: Call) -> Response:
    """`docker search`."""
    term = call.text("term")
    if not term:
        raise InvalidRequest("no term to search for was given")
    limit = call.number("limit")
    if limit is None:
        limit = _USUALLY_FOUND
    if not 1 <= limit <= _MOST_FOUND:
        raise InvalidRequest(f"limit {limit} is outside the range of [1, {_MOST_FOUND}]")
    transfers = await call.engine.images.transfers()
    filters = call.filters()
    found = await transfers.registries.search(term, limit, filters, registry_auth(call))
    return json_answer(found)


async def distribution(call: Call) -> Response:
    """What a registry has under a name."""
    transfers = await call.engine.images.transfers()
    return json_answer(
        await transfers.registries.distribution(call.path["name"], registry_auth(call))
    )


async def mirrors(call: Call) -> Response:
    """The mirrors of `registry` by host[:port], so that a client can send their logins along.

    Wherry's own.
    """
    if not (registry := call.text("registry")):
        raise InvalidRequest("no registry was named")
    transfers = await call.engine.images.transfers()
    return json_answer(await transfers.registries.mirrors(registry))


async def login(call: Call) -> Response:
    """`docker login`."""
    sent = await call.json(AuthConfig)
    transfers = await call.engine.images.transfers()
    token = await transfers.registries.login(sent.serveraddress, sent.credentials())
    return json_answer({"Status": "Login Succeeded", "IdentityToken": token})


async def told(call: Call, events: "AsyncGenerator[Event, None]") -> StreamResponse:
    """What happens, as it does; an error that comes before any of it is the answer's status."""
    from wherry.api.transfer_lines import failure, shown

    answer = JsonStream(call)
    try:
        async with aclosing(events):
            async for event in events:
                for document in shown(event):
                    await answer.send(document)
    except EngineError as error:
        if not answer.opened:
            raise
        await answer.send(failure(error.message))
    return await answer.close()
