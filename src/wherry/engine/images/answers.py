"""What registries answered, as Docker's JSON documents (Engine API 1.45)."""

import msgspec

from wherry.oci import Descriptor, Platform


class DistributionInspect(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /distribution/NAME/json`."""

    descriptor: Descriptor
    platforms: list[Platform]
