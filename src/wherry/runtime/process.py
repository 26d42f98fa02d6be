"""What the shim sees of a process in a container, whoever made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.oci.runtime import Resources
    from wherry.runtime.sandbox.cgroups import Cgroup


class RunningContainer(Protocol):
    """A container, by its first process."""

    @property
    def pid(self) -> int:
        """As this process's pid namespace numbers it."""

    @property
    def pidfd(self) -> int:
        """Its pidfd, open as long as it is known."""

    @property
    def cgroup(self) -> Cgroup:
        """The cgroup of the whole container."""


class ContainerProcess(RunningContainer, Protocol):
    """A process in a container: a child of this process, created and not yet started.

    Its end is seen by `pidfd`, and its status by waitid(2) on that; `close` it then.
    """

    @property
    def takes_signals(self) -> bool:
        """Whether signals are sent to it as they are.

        A Wasm guest sees none: one that should end it becomes SIGKILL, reported as itself.
        """

    @property
    def terminal(self) -> int | None:
        """The master of the terminal it made for itself, for the caller to take.

        None for who has no terminal, or was given one.
        """

    @property
    def refused_memory(self) -> bool:
        """Whether its guest died for want of memory that it was refused; known once it `ended`."""

    async def start(self, on_signal: Callable[[int], None]) -> None:
        """Let it run. Raises LaunchError; then it ends by itself.

        `on_signal` is called with the number of each signal that reaches the process directly and
        that it does not see: whoever listens ends it.
        """

    async def pause(self) -> None:
        """Stop all of its container. Raises CgroupError or LaunchError."""

    async def resume(self) -> None:
        """Let its container go on. Raises CgroupError or LaunchError."""

    async def update(self, resources: Resources, document: bytes) -> None:
        """Set other limits for its container; `document` is the same as JSON, as it came.

        Raises CgroupError or LaunchError.
        """

    def ended(self) -> None:
        """It was reaped: what its end does not end by itself is ended now."""

    async def close(self) -> None:
        """After it was reaped: gives up all that was made for it. Raises CgroupError, LaunchError.

        For a container's first process that is the whole container.
        """
