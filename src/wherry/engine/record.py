"""What is kept of each container, as it stands in the engine's file."""

import msgspec
from msgspec import UNSET

from wherry.engine.config import ContainerConfig, HostConfig
from wherry.engine.inspection import ContainerState, MountPoint


class Mounted(msgspec.Struct, kw_only=True):
    """One mount of a container."""

    type: str
    """bind, volume or tmpfs."""
    destination: str
    source: str = ""
    """Of a bind: the path on the host."""
    name: str = ""
    """Of a volume; empty until it has been made."""
    read_only: bool = False
    mode: str = ""
    propagation: str = ""
    recursive: bool = True
    create_source: bool = False
    """Of a bind: a missing source is made, as a folder."""
    copy: bool = True
    """Of a volume: an empty one gets what the image has at the destination."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    subpath: str = ""
    options: list[str] = msgspec.field(default_factory=list)
    """Of a tmpfs."""

    def point(self, source: str) -> MountPoint:
        """As inspect shows it; `source` is where on the host."""
        is_volume = self.type == "volume"
        return MountPoint(
            type=self.type,
            name=self.name if is_volume else UNSET,
            source=source,
            destination=self.destination,
            driver="local" if is_volume else UNSET,
            mode=self.mode,
            rw=not self.read_only,
            propagation=self.propagation,
        )


class Record(msgspec.Struct, kw_only=True):
    """What a container is; it seldom changes. `created` is in nanoseconds since the epoch."""

    id: str
    name: str
    created: int
    config: ContainerConfig
    host: HostConfig
    image_id: str
    platform: str
    args: list[str]
    """The whole command line: entrypoint and command."""
    layers: list[str]
    """The image's layers as folders, topmost first."""
    mounts: list[Mounted]
    user: tuple[int, int] = (0, 0)
    groups: list[int] = msgspec.field(default_factory=list)
    home: str = "/"


class Life(msgspec.Struct, kw_only=True):
    """How a container is; it changes often."""

    state: ContainerState = msgspec.field(default_factory=ContainerState)
    restart_count: int = 0
    stopped_by_hand: bool = False
    """A person ended it: no restart policy starts it again, until the machine itself restarts."""
