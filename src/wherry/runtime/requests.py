"""What a launcher is asked for: a container, or a further process of one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wherry.oci import runtime as spec
from wherry.runtime.process import RunningContainer


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A container to be made. The descriptors stay the caller's, to close after `create`."""

    id: str
    bundle: str
    rootfs: tuple[spec.Mount, ...]
    stdin: int
    stdout: int
    stderr: int
    on_made: Callable[[int, str], None] | None = None
    """Called with the cgroup as soon as it is there, and pid 0; again with the pid before the first
    hook runs: then the last ones are owed. It is to be cleaned up even if this process dies."""
    exposed: Callable[[], Awaitable[list[str]]] | None = None
    """Finds the ports like "8080/tcp" that the container's image exposes, for a module that must be
    given its listening sockets and a bundle that does not tell of any."""


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A further process of a running container. The descriptors stay the caller's."""

    container: RunningContainer
    bundle: str
    process: spec.Process
    stdin: int
    stdout: int
    stderr: int
    rootfs: tuple[spec.Mount, ...] = ()
    """As the container was created with; looked at only where there are no namespaces."""
    document: bytes = b""
    """`process` as JSON, as it came: for a runtime that knows more of it."""
