"""Building images: the classic builder's endpoint, a context as a tar in, progress out."""

from contextlib import aclosing

from wherry.api.archive import send_tar
from wherry.api.call import Call, JsonStream, Refused, empty_answer, json_answer
from wherry.api.credentials import registry_config
from wherry.api.http import Response, StreamResponse
from wherry.engine import EngineError, InvalidRequest
from wherry.engine.builds.request import BuildRequest, Output
from wherry.engine.errors import BuildFailed


async def build(call: Call) -> StreamResponse:
    """`docker build`. Errors after the first step come in the stream, as Docker sends them."""
    from wherry.api.build_lines import shown

    request, quiet = _request(call), call.flag("q")
    answer = JsonStream(call)
    try:
        async with aclosing(call.engine.builds.build(request, call.chunks())) as events:
            async for event in events:
                for document in shown(event, quiet=quiet):
                    await answer.send(document)
    except EngineError as error:
        if not answer.opened:
            raise
        code = error.exit_code if isinstance(error, BuildFailed) else 1
        await answer.send(
            {"errorDetail": {"code": code, "message": error.message}, "error": error.message}
        )
    return await answer.close()


async def secrets(call: Call) -> Response:
    """Take the secrets of a build that is about to begin: ids, and contents in base64."""
    found = call.engine.builds.secrets.put(await call.json(dict[str, str]))
    return json_answer(found)


async def output(call: Call) -> StreamResponse:
    """What `--output type=…` wants of an image that was just built."""
    tar = call.engine.builds.output(call.text("id"), call.text("type"), forget=call.flag("forget"))
    return await send_tar(call, tar, {})


async def prune(call: Call) -> Response:
    """`docker builder prune`."""
    keep = call.number("keep-storage") or call.number("reserved-space") or 0
    return json_answer(await call.engine.builds.prune(call.filters(), keep=keep))


async def cancel(call: Call) -> Response:
    """Builds end with the connection that asked for them; there is nothing else to cancel."""
    return empty_answer()


async def session(call: Call) -> Response:
    """BuildKit's own protocol."""
    raise Refused(501, "BuildKit's protocol is not spoken here: build with DOCKER_BUILDKIT=0")


def _request(call: Call) -> BuildRequest:
    if call.text("remote"):
        raise InvalidRequest("building from a URL is not available: send the files")
    if call.text("version", "1") not in ("1", ""):
        raise InvalidRequest("BuildKit's protocol is not spoken here: build with DOCKER_BUILDKIT=0")
    return BuildRequest(
        tags=[tag for tag in call.texts("t") if tag],
        dockerfile=call.text("dockerfile") or "Dockerfile",
        arguments=call.document("buildargs", dict[str, str | None], {}),
        labels=call.document("labels", dict[str, str], {}),
        target=call.text("target"),
        platform=call.text("platform"),
        use_cache=not call.flag("nocache"),
        pull=call.flag("pull"),
        network=call.text("networkmode"),
        secrets=call.text("secrets"),
        outputs=call.document("outputs", list[Output], []),
        logins=registry_config(call),
    )
