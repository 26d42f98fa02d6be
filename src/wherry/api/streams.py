"""What flows for as long as a container lives: attach, logs, stats, and the wait for its end."""

from contextlib import aclosing

from wherry.api.call import HEADERS, Call, JsonStream, empty_answer
from wherry.api.containers import named
from wherry.api.conversation import converse
from wherry.api.detach import DetachKeys, InvalidKeys
from wherry.api.frames import frame, media_type
from wherry.api.hijack import Hijacked
from wherry.api.http import StreamResponse
from wherry.api.stamps import LineStamps
from wherry.engine import InvalidRequest


async def wait(call: Call) -> StreamResponse:
    """The exit code, once there is one.

    Clients start the container only after the headers have come, so that its end is not missed.
    """
    ending = call.engine.containers.wait(named(call), call.text("condition") or "not-running")
    answer = await JsonStream(call).open()
    await answer.send(await ending)
    return await answer.close()


async def attach(call: Call) -> StreamResponse:
    """The container's streams on this connection, both ways."""
    container = named(call)
    try:
        keys = DetachKeys(call.text("detachKeys"))
    except InvalidKeys as error:
        raise InvalidRequest(str(error)) from None
    attachment = call.engine.containers.attach(
        container,
        stdin=call.flag("stdin"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        stream=call.flag("stream"),
        logs=call.flag("logs"),
    )
    try:
        connection = Hijacked.take(call.http, media_type(tty=attachment.tty, version=call.version))
        try:
            tty = attachment.tty
            await converse(connection, attachment, framed=not tty, keys=keys if tty else None)
            await connection.close()
        except BaseException:
            connection.abort()
            raise
    finally:
        await attachment.close()
    return empty_answer()


async def logs(call: Call) -> StreamResponse:
    """`docker logs`."""
    container = named(call)
    if not call.flag("stdout") and not call.flag("stderr"):
        raise InvalidRequest("you must choose at least one stream")
    output = call.engine.containers.logs(
        container,
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        follow=call.flag("follow"),
        tail=_tail(call),
        since=call.seconds("since"),
        until=call.seconds("until") or None,
    )
    tty = container.config.tty
    stamp = LineStamps() if call.flag("timestamps") else None
    response = StreamResponse(headers=HEADERS)
    response.content_type = media_type(tty=tty, version=call.version)
    await response.prepare(call.http)
    async with aclosing(output):
        async for stream, time, data in output:
            text = stamp.feed(stream, time, data) if stamp else data
            await response.write(text if tty else frame(stream, text))
    await response.write_eof()
    return response


def _tail(call: Call) -> int | None:
    tail = call.text("tail", "all")
    # Docker shows everything for what is no number.
    return int(tail) if tail.isdecimal() and len(tail) < 20 else None


async def stats(call: Call) -> StreamResponse:
    """`docker stats`."""
    container = named(call)
    figures = call.engine.containers.stats(
        container, stream=call.flag("stream", True), one_shot=call.flag("one-shot")
    )
    answer = JsonStream(call)
    async with aclosing(figures):
        async for each in figures:
            await answer.send(each)
    return await answer.close()
