"""The shim as a client of containerd: what only containerd knows about a container's image.

Imported by name when they are needed: `artifact` and `image` load an HTTP/2 implementation.
"""

from typing import NamedTuple


class Images(NamedTuple):
    """Whose images containers are made of: containerd's gRPC address and a namespace there.

    What was fetched is kept in `folder`.
    """

    address: str
    namespace: str
    folder: str
