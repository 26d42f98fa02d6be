"""Building images: the classic builder's endpoint, a context as a tar in, progress out."""

from collections import deque
from contextlib import aclosing
from typing import Any

from wherry.api.archive import send_tar
from wherry.api.call import Call, JsonStream, Refused, empty_answer, json_answer
from wherry.api.credentials import registry_config
from wherry.api.http import Response, StreamResponse
from wherry.engine import EngineError, InvalidRequest
from wherry.engine.builds.bounds import Bounds
from wherry.engine.builds.request import BuildRequest, Output
from wherry.engine.errors import BuildFailed

_MOST_UNTOLD = 1000
"""Lines that a quiet build tells all the same when a program in it fails."""


async def build(call: Call) -> StreamResponse:
    """`docker build`. Errors after the first step come in the stream, as Docker sends them."""
    from wherry.api.build_lines import shown

    request, quiet = _request(call), call.flag("q")
    answer = JsonStream(call)
    untold: deque[dict[str, Any]] = deque(maxlen=_MOST_UNTOLD)
    try:
        async with aclosing(call.engine.builds.build(request, call.chunks())) as events:
            async for event in events:
                for document in shown(event, quiet=quiet):
                    await answer.send(document)
                if quiet:
                    untold += shown(event, quiet=False)
    except EngineError as error:
        if not answer.opened and not (isinstance(error, BuildFailed) and error.classic):
            raise
        for document in untold:
            await answer.send(document)
        await answer.send(_failure(error))
    return await answer.close()


async def secrets(call: Call) -> Response:
    """Take the secrets of a build that is about to begin: ids, and contents in base64."""
    found = call.engine.builds.secrets.put(await call.json(dict[str, str]))
    return json_answer(found)


async def output(call: Call) -> StreamResponse:
    """What `--output type=…` wants of an image that was just built."""
    tar = call.engine.builds.output(
        call.text("id"), call.text("type"), call.texts("t"), forget=call.flag("forget")
    )
    return await send_tar(call, tar, {})


async def prune(call: Call) -> Response:
    """`docker builder prune`."""
    bounds = Bounds(
        reserved=call.number("reserved-space") or call.number("keep-storage") or 0,
        most=call.number("max-used-space") or 0,
        free=call.number("min-free-space") or 0,
    )
    return json_answer(await call.engine.builds.prune(call.filters(), bounds))


async def cancel(call: Call) -> Response:
    """Builds end with the connection that asked for them; there is nothing else to cancel."""
    return empty_answer()


async def session(call: Call) -> Response:
    """BuildKit's own protocol."""
    raise Refused(501, "BuildKit's protocol is not spoken here: build with DOCKER_BUILDKIT=0")


def _failure(error: EngineError) -> dict[str, Any]:
    """The last document: in Docker's words for its clients, and in `told` with the place."""
    code, message = 1, error.message
    if isinstance(error, BuildFailed):
        code, message = error.exit_code, error.classic or message
    detail = {"code": code, "message": message, "told": error.message}
    return {"errorDetail": detail, "error": message}


def _request(call: Call) -> BuildRequest:
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
        remote=call.text("remote"),
        outputs=call.document("outputs", list[Output], []),
        logins=registry_config(call),
    )
