"""Dockerfile to image.

A build reads a `Context` (a tar archive written into it), carries out the Dockerfile's
instructions in order, keeps each layer it writes in the image store and in a cache, and ends with
a named OCI image. It runs nothing itself and asks no other machine: RUN steps go to the
`StepRunner` it is given, base images and URLs come from the `Outside`. What
happens is told as events while it happens; what cannot be built is a `BuildError` that names file
and line.
"""

from wherry.build.builder import build
from wherry.build.cache import BuildCache
from wherry.build.context import Context
from wherry.build.errors import BuildError
from wherry.build.events import (
    Built,
    Event,
    Fetching,
    Progress,
    StepFinished,
    StepOutput,
    StepStarted,
    Tagged,
    TriggersFound,
    Warned,
)
from wherry.build.options import BuildOptions, Network, Outside, Step, StepFile, StepRunner
from wherry.build.remote import WebFile
from wherry.build.repository import Repository, parse_repository

__all__ = [
    "BuildCache",
    "BuildError",
    "BuildOptions",
    "Built",
    "Context",
    "Event",
    "Fetching",
    "Network",
    "Outside",
    "Progress",
    "Repository",
    "Step",
    "StepFile",
    "StepFinished",
    "StepOutput",
    "StepRunner",
    "StepStarted",
    "Tagged",
    "TriggersFound",
    "Warned",
    "WebFile",
    "build",
    "parse_repository",
]
