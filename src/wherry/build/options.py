"""What a build is asked for, and what it needs from the engine."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from wherry.oci import Platform, Reference


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `wherry build`.

    `dockerfile` is a path in the context. `arguments` are the --build-args, with None for one that
    was named without a value. `tags` are the names the image gets. `platform` is the one asked
    for; without it a stage has its base image's, and one from scratch wasi/wasm.
    """

    dockerfile: str = "Dockerfile"
    tags: tuple[Reference, ...] = ()
    target: str = ""
    arguments: Mapping[str, str | None] = msgspec.field(default_factory=dict)
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    platform: Platform | None = None
    use_cache: bool = True


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A Wasm program to be run in a stage's root filesystem.

    The filesystem is the overlay of `lowerdirs` (topmost first) under `upperdir`, with `workdir`
    as overlay's own folder; what the program changes stays in `upperdir`. `user` is as in an image
    config. `output` takes what the program writes.
    """

    argv: list[str]
    env: list[str]
    cwd: str
    user: str
    lowerdirs: list[Path]
    upperdir: Path
    workdir: Path
    output: Callable[[bytes], None]


class StepRunner(Protocol):
    """Runs steps in containers; the engine brings it."""

    def run(self, step: Step) -> int:
        """Run `step` to its end and return its exit code.

        Raises BuildError when it cannot be started.
        """
