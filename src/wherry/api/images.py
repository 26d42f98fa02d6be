"""Images."""

from wherry.api.archive import send_tar
from wherry.api.call import Call, JsonStream, Refused, Version, empty_answer, json_answer
from wherry.api.http import Response, StreamResponse
from wherry.api.virtual_size import tell_virtual_size
from wherry.engine import InvalidRequest

_COUNTS_CONTAINERS: Version = (1, 51)


async def listing(call: Call) -> Response:
    """`docker images`."""
    images = call.engine.images.list(call.filters(), shared_size=call.flag("shared-size"))
    if call.version < _COUNTS_CONTAINERS:
        for image in images:
            image.containers = -1
    if call.flag("manifests"):
        await call.engine.images.add_manifests(images)
    tell_virtual_size(call, images)
    return json_answer(images)


async def inspect(call: Call) -> Response:
    """`docker image inspect`."""
    platform, manifests = call.text("platform"), call.flag("manifests")
    if platform and manifests:
        raise InvalidRequest(
            "conflicting options: manifests and platform options cannot both be set"
        )
    image = call.engine.images.inspect(call.path["name"], platform)
    if manifests:
        await call.engine.images.add_manifests([image])
    tell_virtual_size(call, [image])
    return json_answer(image)


async def wasm(call: Call) -> Response:
    """What the program of an image is: wherry's own."""
    document = await call.engine.contents.wasm(call.path["name"], call.text("platform") or None)
    return Response(body=document, content_type="application/json")


async def sbom(call: Call) -> Response:
    """The bill of materials of an image: wherry's own."""
    form = call.text("format")
    document = await call.engine.contents.sbom(
        call.path["name"], call.text("platform") or None, form
    )
    kind = "xml" if form.endswith("xml") else "json"
    return Response(body=document, content_type=f"application/vnd.cyclonedx+{kind}")


async def history(call: Call) -> Response:
    """`docker history`."""
    return json_answer(call.engine.images.history(call.path["name"], call.text("platform")))


async def tag(call: Call) -> Response:
    """`docker tag`."""
    await call.engine.images.tag(call.path["name"], call.text("repo"), call.text("tag"))
    return empty_answer(201)


async def remove(call: Call) -> Response:
    """`docker rmi`."""
    name, force = call.path["name"], call.flag("force")
    if platforms := call.texts("platforms"):
        if not force:
            raise InvalidRequest(
                "Content will be removed from all images referencing this variant. Use --force to "
                "force delete."
            )
        return json_answer(await call.engine.images.remove_platforms(name, platforms))
    return json_answer(await call.engine.images.remove(name, force=force))


async def prune(call: Call) -> Response:
    """`docker image prune`."""
    return json_answer(await call.engine.images.prune(call.filters()))


async def load(call: Call) -> StreamResponse:
    """`docker load`."""
    loaded = await call.engine.images.load(call.chunks(), _platform(call))
    answer = await JsonStream(call).open()
    for name in loaded:
        kind = "Loaded image ID" if name.startswith("sha256:") else "Loaded image"
        await answer.send({"stream": f"{kind}: {name}\n"})
    return await answer.close()


async def save(call: Call) -> StreamResponse:
    """`docker save`, of one image or several."""
    name = call.path.get("name")
    names = [name] if name else [each for text in call.texts("names") for each in text.split(",")]
    return await send_tar(call, call.engine.images.save(names, _platform(call)), {})


async def commit(call: Call) -> Response:
    """`docker commit`."""
    raise Refused(501, "commit is not available: describe the image in a Dockerfile and build it")


def _platform(call: Call) -> str:
    """The one platform that was asked for, or none."""
    platforms = call.texts("platform")
    if len(platforms) > 1:
        raise InvalidRequest("multiple platform parameters not supported")
    return platforms[0] if platforms else ""
