"""How much of the build cache a prune leaves, as BuildKit counts it. Sizes are bytes."""

import msgspec


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; 0 is nothing. Without any of them everything goes."""

    reserved: int = 0
    """So much stays in any case."""
    most: int = 0
    """No more than this stays."""
    free: int = 0
    """So much is to be free on the disk."""

    @property
    def given(self) -> bool:
        """Whether something is to stay."""
        return bool(self.reserved or self.most or self.free)

    def keep(self, total: int, free: int) -> int:
        """How much is to be left of `total`, with so much `free` on the disk."""
        kept = self.most or (total if self.free else 0)
        if self.free:
            kept = min(kept, total - max(0, self.free - free))
        return max(kept, self.reserved)
