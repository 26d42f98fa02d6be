"""Filling new volumes with what the image has where they are mounted."""

from wherry.engine.containers.context import Context
from wherry.engine.record import Record


async def copy_up(context: Context, record: Record) -> None:
    """Copy into the empty volumes of a container that is being made what they would hide."""
