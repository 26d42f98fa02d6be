"""What registries answered, as Docker's JSON documents (Engine API 1.45)."""

import msgspec

from wherry.oci import Descriptor, Platform


class SearchResult(msgspec.Struct, kw_only=True):
    """One entry of `GET /images/search`."""

    star_count: int
    is_official: bool
    name: str
    is_automated: bool = False
    description: str


class DistributionInspect(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /distribution/NAME/json`."""

    descriptor: Descriptor
    platforms: list[Platform]
