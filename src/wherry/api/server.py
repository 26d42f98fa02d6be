"""From an HTTP request to the handler of its route, and from what that raises to a status."""

import asyncio
import re
import sys
import traceback
from collections.abc import Callable

from wherry.api.call import CURRENT, HEADERS, OLDEST, Call, Refused, Version, json_answer
from wherry.api.http import BaseRequest, HttpServer, Response, StreamResponse
from wherry.api.routes import ROUTES, Route
from wherry.engine import (
    Conflict,
    Engine,
    EngineError,
    Forbidden,
    InvalidRequest,
    NotFound,
    NotModified,
    StartFailed,
    Unauthorized,
)

_MAX_HEAD = 64 << 10
_KEEP_ALIVE = 75.0

_VERSION = re.compile(r"/v(\d{1,3})\.(\d{1,3})(?=/)")

_STATUS: tuple[tuple[type[EngineError], int], ...] = (
    (InvalidRequest, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (NotModified, 304),
)

_PING = {
    "Builder-Version": "1",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Swarm": "inactive",
}


class Server:
    """Answers the connections of the listening socket.

    It answers `/_ping` as soon as it is there; everything else waits for `engine`.
    """

    def __init__(self, engine: asyncio.Future[Engine], *, activity: Callable[[], None]) -> None:
        """`activity` is told of each request, when it comes and when it is done."""
        self._engine = engine
        self._activity = activity
        self._unfinished: set[asyncio.Task[StreamResponse]] = set()
        self.http = HttpServer(
            self._answer,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_KEEP_ALIVE,
            max_line_size=_MAX_HEAD,
            max_field_size=_MAX_HEAD,
        )

    @property
    def connections(self) -> int:
        """How many clients are connected, idle ones too."""
        return len(self.http.connections)

    async def close(self) -> None:
        """Finish what has begun and close every connection."""
        self.http.pre_shutdown()
        await self.http.shutdown(0.1)

    async def _answer(self, request: BaseRequest) -> StreamResponse:
        self._activity()
        try:
            version, path = _version(request.path)
            if path == "/_ping":
                return _ping(request)
            route, parts = _find(request.method, path)
            call = Call(await asyncio.shield(self._engine), request, parts, version)
            return await self._run(route, call)
        except Exception as error:
            return _failure(error, request)
        finally:
            self._activity()

    async def _run(self, route: Route, call: Call) -> StreamResponse:
        task = asyncio.get_running_loop().create_task(_handle(route, call))
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        if route.interruptible:
            try:
                return await task
            except asyncio.CancelledError:
                task.cancel()
                raise
        # A change that has begun is made whole, whether or not the client waits for it.
        return await asyncio.shield(task)


async def _handle(route: Route, call: Call) -> StreamResponse:
    response = await route.handler(call)
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


def _version(path: str) -> tuple[Version, str]:
    found = _VERSION.match(path)
    if not found:
        return CURRENT, path
    version = int(found[1]), int(found[2])
    asked = f"client version {version[0]}.{version[1]} is too"
    if version > CURRENT:
        newest = f"{CURRENT[0]}.{CURRENT[1]}"
        raise Refused(400, f"{asked} new. Maximum supported API version is {newest}")
    if version < OLDEST:
        oldest = f"{OLDEST[0]}.{OLDEST[1]}"
        raise Refused(
            400,
            f"{asked} old. Minimum supported API version is {oldest}, "
            "please upgrade your client to a newer version",
        )
    return version, path[found.end() :]


def _find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    noun = path.split("/", 2)[1] if path.startswith("/") else ""
    for route in ROUTES.get((method, noun), ()):
        found = route.pattern.fullmatch(path)
        if found:
            return route, found.groupdict()
    raise Refused(404, f"page not found: {method} {path[:200]}")


def _ping(request: BaseRequest) -> Response:
    body = b"" if request.method == "HEAD" else b"OK"
    return Response(body=body, content_type="text/plain", headers=HEADERS | _PING)


def _failure(error: Exception, request: BaseRequest) -> Response:
    """The answer that tells of `error`; the unexpected goes into the log in full."""
    if isinstance(error, ConnectionError) or request.writer.output_size:
        # The client has gone, or an answer has begun: cutting that short is the only way to tell.
        if not isinstance(error, ConnectionError):
            traceback.print_exception(error, file=sys.stderr)
        if request.transport:
            request.transport.abort()
        return Response()
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, Refused):
        status, message = error.status, error.message
    elif isinstance(error, EngineError):
        message = error.message
    else:
        traceback.print_exception(error, file=sys.stderr)
        message = f"wherryd failed: {type(error).__name__}: {error} (its log tells more)"
    if status == 304:
        return Response(status=304, headers=HEADERS)
    document: dict[str, str | int] = {"message": message}
    if isinstance(error, StartFailed):
        # Not Docker's: by it wherry's own command knows what to end with.
        document["exitCode"] = error.exit_code
    response = json_answer(document, status)
    response.headers.update(HEADERS)
    if request.protocol.transport is not None and not request.content.is_eof():
        # The rest of a body that nobody wants: closing is cheaper than reading it.
        response.force_close()
    return response
