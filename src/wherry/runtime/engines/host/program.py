"""A program of the host with all that it is loaded from."""

import msgspec


class HostProgram(msgspec.Struct, frozen=True):
    """A program, its dynamic loader, and the libraries that it is linked with."""

    path: str
    identity: str
    """Of its file, which another release of it changes."""
    release: str
    """As it says itself; code that one release has compiled fits no other."""
    loader: str = ""
    """Empty for a program that is linked statically."""
    libraries: dict[str, str] = {}
    """Paths by the names that the loader looks for."""
