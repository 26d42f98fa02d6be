"""What builds keep, as the API shows it."""

import msgspec


class BuildPruneReport(msgspec.Struct, kw_only=True, rename="pascal"):
    """`POST /build/prune`. `space_reclaimed` is in bytes."""

    caches_deleted: list[str] | None
    space_reclaimed: int


class CacheRecord(msgspec.Struct, kw_only=True, rename="pascal"):
    """One step, or one cache mount, that is kept. `size` is in bytes."""

    id: str = msgspec.field(name="ID")
    type: str = "regular"
    description: str = ""
    in_use: bool = False
    shared: bool = False
    size: int
    created_at: str
    last_used_at: str | None = None
    usage_count: int = 0
