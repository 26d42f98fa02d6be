"""Volumes: folders that outlive the containers that use them."""

from wherry.engine.filters import Filters
from wherry.engine.inspection import Volume, VolumePruneReport


class Volumes:
    """All volumes of the engine."""

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> Volume:
        """Make a volume, or return the one of that name; without a name, one of 64 hex digits."""
        raise NotImplementedError

    def get(self, name: str) -> Volume:
        """Raises NotFound."""
        raise NotImplementedError

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Raises NotFound (unless `force`), Conflict (a container uses it)."""
        raise NotImplementedError

    async def prune(self, filters: Filters | None = None) -> VolumePruneReport:
        """Remove unused anonymous volumes; with the filter all=true, named ones too."""
        raise NotImplementedError

    async def usage(self) -> "list[Volume]":
        """All volumes with `usage_data` counted (for `system df`)."""
        raise NotImplementedError

    def list(self, filters: Filters | None = None) -> list[Volume]:
        """By name. Filters: dangling, driver, label, name."""
        raise NotImplementedError
