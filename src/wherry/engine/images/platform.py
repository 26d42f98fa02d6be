"""Platforms as clients send them."""

import msgspec

from wherry.engine.errors import InvalidRequest
from wherry.oci import Platform, parse_platform


def read_platform(text: str | None) -> Platform | None:
    """In words, or as newer clients do it, OCI's fields as JSON; None where none is asked for.

    Raises InvalidRequest, InvalidPlatform.
    """
    if not text:
        return None
    if not text.startswith("{"):
        return parse_platform(text)
    try:
        named = msgspec.json.decode(text, type=Platform)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"platform: {error}") from None
    return parse_platform(str(named))
