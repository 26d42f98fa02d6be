"""Manifests in registries, and lists of images for several platforms made by hand."""

import msgspec

from wherry.api.call import Call, empty_answer, json_answer
from wherry.api.credentials import registry_auth, registry_config
from wherry.api.http import Response, StreamResponse
from wherry.api.registries import told
from wherry.engine import InvalidRequest


class _Creation(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A list to be made: its name, and the images in it."""

    name: str
    manifests: list[str]
    amend: bool = False


async def inspect(call: Call) -> Response:
    """`docker manifest inspect`: the document itself, or with `verbose` what is known of each."""
    name, of, logins = call.path["name"], call.text("list"), registry_config(call)
    verbose = call.flag("verbose")
    transfers = await call.engine.images.transfers()
    data = await transfers.ask(lambda known: known.inspect(name, of, logins, verbose=verbose))
    return Response(body=data, content_type="application/json")


async def create(call: Call) -> Response:
    """`docker manifest create`."""
    wanted, logins = await call.json(_Creation), registry_config(call)
    if not wanted.manifests:
        raise InvalidRequest("no image was named for the list")
    transfers = await call.engine.images.transfers()
    name = await transfers.ask(
        lambda known: known.create(wanted.name, wanted.manifests, logins, amend=wanted.amend)
    )
    return json_answer({"Name": name}, 201)


async def annotate(call: Call) -> Response:
    """`docker manifest annotate`."""
    from wherry.engine.images.manifests import Annotation

    name, annotation = call.path["name"], await call.json(Annotation)
    transfers = await call.engine.images.transfers()
    await transfers.ask(lambda known: known.annotate(name, annotation))
    return empty_answer()


async def push(call: Call) -> StreamResponse:
    """`docker manifest push`."""
    transfers = await call.engine.images.transfers()
    purge = call.flag("purge")
    return await told(
        call, transfers.pushes.push_list(call.path["name"], registry_auth(call), purge=purge)
    )


async def remove(call: Call) -> Response:
    """`docker manifest rm`."""
    name = call.path["name"]
    transfers = await call.engine.images.transfers()
    await transfers.ask(lambda known: known.remove(name))
    return empty_answer()
