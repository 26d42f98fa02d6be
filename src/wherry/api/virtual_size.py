"""The field that clients from before API 1.44 read an image's size from: `VirtualSize`.

Docker had it beside `Size`, since 1.10 with the same number. The docker CLI 20.10 counts with it
in `docker system df`.
"""

from collections.abc import Iterable
from typing import Protocol

from msgspec import UnsetType

from wherry.api.call import Call

_GONE = (1, 44)


class _Image(Protocol):
    size: int
    virtual_size: int | UnsetType


def tell_virtual_size(call: Call, images: Iterable[_Image]) -> None:
    """Add it for a client that may want it."""
    if call.version < _GONE:
        for image in images:
            image.virtual_size = image.size
