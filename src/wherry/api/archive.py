"""Files of a container: `docker cp` and `docker export`."""

import base64
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec

from wherry.api.call import HEADERS, Call, empty_answer
from wherry.api.containers import named
from wherry.api.http import Response, StreamResponse
from wherry.engine import InvalidRequest
from wherry.engine.containers import PathStat

_STAT = "X-Docker-Container-Path-Stat"
_TAR = "application/x-tar"


async def stat(call: Call) -> Response:
    """What is at the path, in a header."""
    found = await call.engine.containers.stat_path(named(call), _path(call))
    response = empty_answer(200)
    response.headers[_STAT] = _header(found)
    return response


async def download(call: Call) -> StreamResponse:
    """A file or folder as a tar."""
    found, tar = await call.engine.containers.get_archive(named(call), _path(call))
    return await send_tar(call, tar, {_STAT: _header(found)})


async def upload(call: Call) -> StreamResponse:
    """Unpack a tar into a folder."""
    await call.engine.containers.put_archive(
        named(call),
        _path(call),
        call.chunks(),
        no_overwrite_dir_non_dir=call.flag("noOverwriteDirNonDir"),
    )
    return empty_answer(200)


async def export(call: Call) -> StreamResponse:
    """The whole filesystem as a tar."""
    return await send_tar(call, call.engine.containers.export(named(call)), {})


async def send_tar(
    call: Call, tar: AsyncIterator[bytes], headers: dict[str, str]
) -> StreamResponse:
    """Send a tar as it is made; an error before the first byte still becomes a status."""
    async with aclosing(tar):  # type: ignore[type-var]
        first = await anext(tar, b"")
        response = StreamResponse(headers=HEADERS | headers)
        response.content_type = _TAR
        await response.prepare(call.http)
        await response.write(first)
        async for chunk in tar:
            await response.write(chunk)
    await response.write_eof()
    return response


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise InvalidRequest("the path is missing")
    return path


def _header(found: PathStat) -> str:
    return base64.b64encode(msgspec.json.encode(found)).decode()
