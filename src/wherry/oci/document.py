"""JSON text to typed structs and back, bounded in size."""

from typing import TypeVar

import msgspec

T = TypeVar("T")

MAX_DOCUMENT = 4 << 20
"""Bytes; the limit that registries and containerd put on a manifest."""


class InvalidDocument(ValueError):
    """The bytes are not the document they were said to be. The message is one line."""


def decode(data: bytes, kind: type[T], name: str, limit: int = MAX_DOCUMENT) -> T:
    """Decode JSON `data` as a `kind`.

    `name` says in errors what was read ("manifest sha256:…"); `limit` is in bytes.
    Raises InvalidDocument.
    """
    if len(data) > limit:
        raise InvalidDocument(f"{name}: {len(data)} bytes, more than the {limit} allowed")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidDocument(f"{name}: {error}") from None


def encode(document: object) -> bytes:
    """Encode a struct as JSON, fields in declared order: equal documents give equal bytes."""
    return msgspec.json.encode(document)
