"""What everything that deals with containers shares."""

from pathlib import Path

import msgspec

from wherry.engine.containers.container import Container
from wherry.engine.containers.index import Index
from wherry.engine.events import Events
from wherry.engine.networks import Networks
from wherry.engine.record import Mounted
from wherry.engine.shims import Shims
from wherry.engine.state import State
from wherry.engine.trash import Trash
from wherry.engine.trust import Gate
from wherry.engine.volumes import Volumes
from wherry.images import ImageStore
from wherry.network import NetworkClient


class Context(msgspec.Struct, frozen=True):
    """The engine as containers see it."""

    folder: Path
    """Below it each container has a folder, its bundle."""
    state: State
    events: Events
    shims: Shims
    trash: Trash
    volumes: Volumes
    networks: Networks
    network_client: NetworkClient
    store: ImageStore
    gate: Gate
    """What images must pass to be used."""
    index: Index
    unprivileged: bool
    """Everything happens inside a user namespace."""

    def bundle(self, container: Container) -> Path:
        """The folder of a container."""
        return self.folder / container.id

    def log(self, container: Container) -> Path:
        """What the container writes."""
        return self.folder / container.id / "output.log"

    def source(self, mount: Mounted) -> str:
        """Where on the host a mount's things are; empty for a tmpfs, and an image of layers."""
        return str(self.volumes.path(mount.name)) if mount.type == "volume" else mount.source

    def tell(self, container: Container, action: str, **attributes: str) -> None:
        """Publish an event of a container."""
        self.events.publish("container", action, container.id, container.attributes() | attributes)

    def save(self, container: Container) -> None:
        """Remember how a container is."""
        if not container.removed:
            self.state.save_life(container.id, container.life)

    def note(self, container: Container) -> None:
        """As `save`, of what has happened already: a full disk does not undo it."""
        if not container.removed:
            self.state.note_life(container.id, container.life)
