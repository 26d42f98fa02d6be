"""What is asked of a container's shim, and may be refused."""

from collections.abc import Iterator
from contextlib import contextmanager

from wherry.engine.containers.container import Container
from wherry.engine.errors import Conflict, EngineError
from wherry.shim.client import TaskClient, TaskError


def running_task(container: Container) -> TaskClient:
    """The shim that runs it. Raises Conflict."""
    if container.state.restarting:
        raise Conflict(
            f"Container {container.id} is restarting, wait until the container is running"
        )
    if not container.state.running or container.task is None:
        raise Conflict(f"Container {container.id} is not running")
    return container.task


@contextmanager
def task_errors(what: str) -> Iterator[None]:
    """A shim's refusal as an error of the engine."""
    try:
        yield
    except TaskError as error:
        kind = Conflict if error.code in ("FAILED_PRECONDITION", "NOT_FOUND") else EngineError
        raise kind(f"{what}: {error.message}") from None
