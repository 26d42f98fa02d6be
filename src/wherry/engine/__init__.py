"""The engine: the nouns of wherry and their life.

Containers, images, volumes and events, kept in SQLite and on disk so that a kill at any moment
loses nothing. It speaks to containers only through the shim, as containerd does.
"""

from wherry.engine.engine import Engine
from wherry.engine.errors import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidRequest,
    NetworkRefused,
    NotFound,
    NotModified,
    StartFailed,
    StateInUse,
    Unauthorized,
)
from wherry.engine.filters import Filters

__all__ = [
    "Conflict",
    "Engine",
    "EngineError",
    "Filters",
    "Forbidden",
    "InvalidRequest",
    "NetworkRefused",
    "NotFound",
    "NotModified",
    "StartFailed",
    "StateInUse",
    "Unauthorized",
]
