"""`--verify-key FILE`: the public key that an image must have been signed with."""

from __future__ import annotations

from wherry.cli.errors import CommandError
from wherry.cli.flags import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Flag
    from wherry.cli.session import Session

_LIMIT = 5 << 10
"""Bytes; in base64 it must fit into a header."""

VERIFY_KEY: Flag = text(
    "verify-key",
    "",
    "Refuse the image unless it was signed with this key (a public key's PEM file)",
    metavar="FILE",
    complete="file",
)


def headers(session: Session, path: str) -> tuple[str, ...]:
    """The header that asks the engine to verify; none without a key. Raises `CommandError`."""
    if not path:
        return ()
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", 125) from None
    if b"PRIVATE KEY" in data:
        raise CommandError(f"{path} is a private key: give the public one of the pair", 125)
    if b"-----BEGIN " not in data or len(data) > _LIMIT:
        raise CommandError(f"{path} is no public key: a PEM file was expected", 125)
    # Another engine would take no notice of the header, and run the image unverified.
    server = session.client.request("GET", "/_ping").headers.get("server", "")
    if not server.startswith("wherry/"):
        raise CommandError("--verify-key: only wherry's own engine verifies signatures", 125)
    import binascii  # from a file of its own: for those who give a key

    return (f"X-Wherry-Verify-Key: {binascii.b2a_base64(data, newline=False).decode()}",)
