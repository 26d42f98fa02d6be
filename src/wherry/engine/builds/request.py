"""What a client asks to be built."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from wherry.registry import Credentials


class Output(msgspec.Struct, rename="pascal"):
    """What is to become of a build, as in Docker's API; `attrs` are its further words."""

    type: str = ""
    attrs: dict[str, str] = {}


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A build in the client's own words; `dockerfile` is a path in the context.

    `network` is what RUN steps have: "", "default", "bridge", "none" or "host". `secrets` is the
    token of those that were sent before. `remote` is the URL of a context, instead of one that is
    sent. Without `outputs` the image is in the store, and named.
    `logins` are those of whoever asks, by registry.
    """

    tags: Sequence[str] = ()
    dockerfile: str = "Dockerfile"
    arguments: Mapping[str, str | None] = {}
    labels: Mapping[str, str] = {}
    target: str = ""
    platform: str = ""
    use_cache: bool = True
    pull: bool = False
    network: str = ""
    secrets: str = ""
    remote: str = ""
    outputs: Sequence[Output] = ()
    logins: "Mapping[str, Credentials]" = {}
