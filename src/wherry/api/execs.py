"""Programs started in a running container: `docker exec`."""

from wherry.api.call import MAX_BODY, Call, empty_answer, json_answer
from wherry.api.containers import named
from wherry.api.conversation import Ending, converse
from wherry.api.detach import DetachKeys, InvalidKeys
from wherry.api.frames import frame, media_type
from wherry.api.hijack import Hijacked
from wherry.api.http import Response, StreamResponse
from wherry.engine import InvalidRequest, StartFailed
from wherry.engine.containers import Exec, Session
from wherry.engine.exec_config import ExecStart, decode_exec, decode_exec_start

_STDOUT, _STDERR = 1, 2


def _known(call: Call) -> Exec:
    """The exec that the path names. Raises NotFound."""
    return call.engine.containers.execs.get(call.path["id"])


async def create(call: Call) -> Response:
    """`docker exec`: what is to be run."""
    container = named(call)
    config = decode_exec(await call.body(MAX_BODY))
    _keys(config.detach_keys)
    exec = call.engine.containers.execs.create(container, config)
    return json_answer({"Id": exec.id}, 201)


async def start(call: Call) -> StreamResponse:
    """Run what `create` prepared, and unless it is to be detached, carry its streams."""
    exec = _known(call)
    wanted = decode_exec_start(await call.body(MAX_BODY))
    execs = call.engine.containers.execs
    if wanted.detach:
        await execs.start(exec, attached=False, size=wanted.console_size)
        return empty_answer(200)
    try:
        session = await execs.start(exec, attached=True, size=wanted.console_size)
    except StartFailed as failure:
        # Docker's clients look for the exit code of what could not be started, too.
        await _tell(call, exec, wanted, failure)
        return empty_answer()
    await _attach(call, exec, wanted, session)
    return empty_answer()


async def _attach(call: Call, exec: Exec, wanted: ExecStart, session: Session) -> None:
    keys = _keys(exec.config.detach_keys) if wanted.tty else None
    try:
        connection = _take(call, wanted)
        try:
            ending = await converse(connection, session, framed=not wanted.tty, keys=keys)
            may_go = wanted.tty and not wanted.end_with_client
            if ending is Ending.DETACHED or (ending is Ending.LOST and may_go):
                session.detach()
            await connection.close()
        except BaseException:
            connection.abort()
            raise
    finally:
        session.close()


async def _tell(call: Call, exec: Exec, wanted: ExecStart, failure: StartFailed) -> None:
    connection = _take(call, wanted)
    text = f"{failure.message}\r\n".encode()
    stream = _STDERR if exec.config.attach_stderr else _STDOUT
    await connection.write(text if wanted.tty else frame(stream, text))
    await connection.close()


def _take(call: Call, wanted: ExecStart) -> Hijacked:
    return Hijacked.take(call.http, media_type(tty=wanted.tty, version=call.version))


def _keys(text: str) -> DetachKeys:
    try:
        return DetachKeys(text)
    except InvalidKeys as error:
        raise InvalidRequest(str(error)) from None


async def resize(call: Call) -> Response:
    """The size of its terminal."""
    height, width = call.number("h") or 0, call.number("w") or 0
    await call.engine.containers.execs.resize(_known(call), height, width)
    return empty_answer(200)


async def inspect(call: Call) -> Response:
    """What has become of it."""
    return json_answer(_known(call).inspect())
