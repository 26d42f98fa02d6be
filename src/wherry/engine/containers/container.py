"""One container: what is kept of it, and what lives only while the engine does."""

from wherry.engine.config import ContainerConfig, HostConfig
from wherry.engine.inspection import ContainerState


class Container:
    """A container. Change it through `Containers` only."""

    id: str
    name: str
    config: ContainerConfig
    host: HostConfig
    state: ContainerState
    image_id: str
