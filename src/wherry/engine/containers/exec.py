"""A process that was started in a running container: `exec`."""

import asyncio

from wherry.engine.containers.container import Container
from wherry.engine.exec_config import ExecConfig, ExecInspect, ProcessConfig


class Exec:
    """One exec, from its creation until it is forgotten. Change it through `Execs` only."""

    def __init__(self, id: str, container: Container, config: ExecConfig) -> None:
        self.id = id
        """64 hexadecimal digits."""
        self.container = container
        self.config = config
        self.started = False
        self.pid = 0
        """As the host numbers it, while it runs."""
        self.exit_code: int | None = None
        """None until it has ended, or could not be started."""
        self.ended = asyncio.Event()
        """Set when it has an exit code."""

    @property
    def args(self) -> list[str]:
        """The program and its arguments; there is at least the program."""
        return self.config.cmd or []

    @property
    def running(self) -> bool:
        """It has been started and has not ended."""
        return self.started and self.exit_code is None

    def end(self, exit_code: int) -> None:
        """It has ended, or will never begin."""
        self.exit_code, self.pid = exit_code, 0
        self.ended.set()

    def inspect(self) -> ExecInspect:
        """What is known of it."""
        config = self.config
        return ExecInspect(
            id=self.id,
            running=self.running,
            exit_code=self.exit_code,
            process_config=ProcessConfig(
                arguments=self.args[1:],
                entrypoint=self.args[0],
                privileged=config.privileged,
                tty=config.tty,
                user=config.user,
            ),
            open_stdin=config.attach_stdin,
            open_stderr=config.attach_stderr,
            open_stdout=config.attach_stdout,
            can_remove=self.exit_code is not None,
            container_id=self.container.id,
            detach_keys=config.detach_keys,
            pid=self.pid,
        )
