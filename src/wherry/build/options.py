"""What a build is asked for, and what it needs from the engine."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from wherry.build.events import Progress
from wherry.build.remote import WebFile
from wherry.build.repository import Repository
from wherry.images import Image
from wherry.oci import Platform, Reference
from wherry.oci.runtime import Mount

Network = Literal["default", "none", "host"]
"""What a step can reach: the engine's bridge network, nothing, or what the host can."""


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `wherry build`.

    `dockerfile` is a path in the context. `arguments` are the --build-args, with None for one that
    was named without a value. `tags` are the names the image gets. `platforms` are those asked for,
    of which several make an image index; without any a stage has its base image's, and one from
    scratch wasi/wasm.
    """

    dockerfile: str = "Dockerfile"
    tags: tuple[Reference, ...] = ()
    target: str = ""
    arguments: Mapping[str, str | None] = msgspec.field(default_factory=dict)
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    platforms: tuple[Platform, ...] = ()
    use_cache: bool = True
    pull: bool = False
    secrets: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    network: Network = "default"


class StepFile(msgspec.Struct, frozen=True):
    """A file that is there while a step runs and in no layer: a secret, or a script.

    `target` is absolute. It is kept off disks and out of everything that is told or kept.
    """

    target: str
    data: bytes
    mode: int
    uid: int = 0
    gid: int = 0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A program to be run in a stage's root filesystem.

    The filesystem is the overlay of `lowerdirs` (topmost first) under `upperdir`, with `workdir`
    as overlay's own folder; what the program changes stays in `upperdir`. `user` is as in an image
    config. `env` may hold secrets. `mounts` and `files` come on top, in their order. For the
    `platform` wasi/wasm nothing but Wasm may run. `output` takes what the program writes.
    """

    argv: list[str]
    env: list[str]
    cwd: str
    user: str
    platform: Platform
    network: Network
    mounts: list[Mount]
    files: list[StepFile]
    lowerdirs: list[Path]
    upperdir: Path
    workdir: Path
    output: Callable[[bytes], None]


class Outside(Protocol):
    """What a build gets from other machines; the engine brings it. Shared by threads."""

    def image(
        self, name: str, platform: Platform | None, progress: Progress, *, pull: bool
    ) -> Image:
        """The image of that name, fetched if it is not in the store, or anyway to see whether
        there is a newer one (`pull`); `progress` is told of that. Raises what the image store
        raises, and BuildError.
        """

    def open_url(self, url: str) -> AbstractContextManager[WebFile]:
        """A file of the web. Raises BuildError, also while it is read."""

    def fetch(self, repository: Repository, write: Callable[[bytes], object]) -> str:
        """Write what is meant of a git repository as a tar archive, without its history, and return
        the commit's id. Raises BuildError, and what `write` raises.
        """

    def abandon(self) -> None:
        """End what is under way, and begin nothing more: all of it raises BuildError."""


class StepRunner(Protocol):
    """Runs steps in containers; the engine brings it. Shared by threads."""

    def run(self, step: Step) -> int:
        """Run `step` to its end and return its exit code.

        Raises BuildError when it cannot be started, or was given up: it has ended then.
        """

    def wait(self) -> None:
        """Wait a moment for something that another step has. Raises if this one was given up."""

    def abandon(self) -> None:
        """Kill the steps that run, and start none any more."""
