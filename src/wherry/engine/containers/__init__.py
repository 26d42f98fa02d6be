"""Containers: what they are, their life, their output and their files."""

from wherry.engine.containers.archive import PathStat
from wherry.engine.containers.collection import Containers
from wherry.engine.containers.container import Container
from wherry.engine.containers.exec import Exec
from wherry.engine.containers.exec_session import Session
from wherry.engine.containers.output import Attachment, Output
from wherry.engine.containers.stats import Stats

__all__ = [
    "Attachment",
    "Container",
    "Containers",
    "Exec",
    "Output",
    "PathStat",
    "Session",
    "Stats",
]
