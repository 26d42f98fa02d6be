"""Images."""

from wherry.api._call import Call, JsonStream, Refused, empty_answer, json_answer
from wherry.api._http import Response, StreamResponse
from wherry.api.archive import send_tar
from wherry.engine import InvalidRequest, NotFound

_NO_REGISTRY = (
    "wherry has no registry client yet: bring the image with 'wherry load', or build it here"
)


async def listing(call: Call) -> Response:
    """`docker images`."""
    images = call.engine.images.list(call.filters(), shared_size=call.flag("shared-size"))
    return json_answer(images)


async def inspect(call: Call) -> Response:
    """`docker image inspect`."""
    return json_answer(call.engine.images.inspect(call.path["name"]))


async def history(call: Call) -> Response:
    """`docker history`."""
    return json_answer(call.engine.images.history(call.path["name"]))


async def tag(call: Call) -> Response:
    """`docker tag`."""
    await call.engine.images.tag(call.path["name"], call.text("repo"), call.text("tag"))
    return empty_answer(201)


async def remove(call: Call) -> Response:
    """`docker rmi`."""
    done = await call.engine.images.remove(call.path["name"], force=call.flag("force"))
    return json_answer(done)


async def prune(call: Call) -> Response:
    """`docker image prune`."""
    return json_answer(await call.engine.images.prune(call.filters()))


async def load(call: Call) -> StreamResponse:
    """`docker load`."""
    loaded = await call.engine.images.load(call.chunks())
    answer = await JsonStream(call).open()
    for name in loaded:
        kind = "Loaded image ID" if name.startswith("sha256:") else "Loaded image"
        await answer.send({"stream": f"{kind}: {name}\n"})
    return await answer.close()


async def save(call: Call) -> StreamResponse:
    """`docker save`, of one image or several."""
    name = call.path.get("name")
    names = [name] if name else [each for text in call.texts("names") for each in text.split(",")]
    return await send_tar(call, call.engine.images.save(names), {})


async def pull(call: Call) -> StreamResponse:
    """`docker pull`: what is in the store already is up to date; there is no registry to ask."""
    if call.text("fromSrc"):
        raise Refused(501, "import is not available: use 'wherry load' or 'wherry build'")
    repository, tag = call.text("fromImage"), call.text("tag")
    if not repository:
        raise InvalidRequest("no image was named")
    name = f"{repository}{'@' if ':' in tag else ':'}{tag}" if tag else repository
    try:
        image = call.engine.images.resolve(name, call.text("platform") or None)
    except NotFound:
        raise NotFound(f"{name} is not in the local store, and {_NO_REGISTRY}") from None
    answer = await JsonStream(call).open()
    await answer.send({"status": f"Digest: {image.descriptor.digest}"})
    await answer.send({"status": f"Status: Image is up to date for {name}"})
    return await answer.close()


async def push(call: Call) -> Response:
    """`docker push`."""
    call.engine.images.resolve(call.path["name"])
    raise Refused(501, "wherry has no registry client yet: write the image with 'wherry save'")


async def search(call: Call) -> Response:
    """`docker search`."""
    raise Refused(501, _NO_REGISTRY)


async def distribution(call: Call) -> Response:
    """What a registry has under a name."""
    raise Refused(501, _NO_REGISTRY)


async def commit(call: Call) -> Response:
    """`docker commit`."""
    raise Refused(501, "commit is not available: describe the image in a Dockerfile and build it")
