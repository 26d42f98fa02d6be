"""Who one is to a registry, as Docker's AuthConfig has it."""

import msgspec


class Credentials(msgspec.Struct, frozen=True):
    """A password, or a token in its place; all empty is nobody."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    """What `login` returned: exchanged for tokens at the registry's token server."""
    registry_token: str = ""
    """A bearer token that is sent as it is."""

    def __bool__(self) -> bool:
        return self != NOBODY

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r})"  # the rest has no place in a log


NOBODY = Credentials()
"""Whoever has not logged in."""
