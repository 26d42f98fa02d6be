"""The engine: everything that wherryd does, behind a few nouns."""

from pathlib import Path

from wherry.engine.containers import Containers
from wherry.engine.events import Events
from wherry.engine.volumes import Volumes
from wherry.images import ImageStore


class Engine:
    """An open engine. There is one for each data root.

    `Images(engine)`, `Builds(engine)` and `System(engine)` are made by `open`, before containers
    are picked up, and become `images`, `builds` and `system`; `store` is theirs and ours.
    """

    store: ImageStore

    containers: Containers
    volumes: Volumes
    events: Events
    root: Path
    run: Path

    @classmethod
    async def open(cls, root: Path, run: Path) -> "Engine":
        """Open the state below `root`, pick up running containers. Raises StateInUse."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of everything; containers run on."""
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        """Something runs, is being made or is waited for: no time to go away."""
        raise NotImplementedError
