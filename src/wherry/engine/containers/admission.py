"""Whether a container's images may be used: asked when it is made, and again before it runs.

What ran before may be refused by the policy of today, so every start asks, by whomever it is: a
person, a restart policy, or the engine that comes back. It costs two lstat(2) where there is no
policy, and where nothing has changed a stat(2) for each of its files.
"""

import asyncio
from contextlib import suppress

from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.errors import EngineError
from wherry.engine.record import Record
from wherry.engine.trust import Admission, Gate
from wherry.images import Image


async def admit(gate: Gate, image: Image, name: str, verify_key: str) -> Admission:
    """Let an image be used, called by `name`. Raises Forbidden, InvalidRequest."""
    if gate.is_open and not verify_key:
        return gate.admit(image, name)
    return await asyncio.to_thread(gate.admit, image, name, verify_key)


async def admit_again(context: Context, container: Container) -> None:
    """Ask the policy in force, if it is another than the one that was asked last.

    Raises Forbidden.
    """
    gate, record = context.gate, container.record
    before = record.admissions or [_of_older_release(record)]
    if all(map(gate.stands, before)):
        return
    now = [await asyncio.to_thread(gate.readmit, each) for each in before]
    if now != before:
        record.admissions = now
        # Otherwise the next engine asks once more.
        with suppress(EngineError):
            context.state.save_record(record)


def _of_older_release(record: Record) -> Admission:
    """Under which names it was let in has not been kept: it counts as an image without."""
    digests = [record.manifest.digest] if record.manifest else []
    return Admission(image=record.config.image, names=[""], digests=digests)
