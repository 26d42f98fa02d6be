"""What is to be started in a running container: the bodies of Docker's exec calls, typed.

Field names in JSON are Docker's (Engine API 1.51).
"""

import msgspec

from wherry.engine.config import decode_body
from wherry.engine.errors import InvalidRequest

_LONGEST = 256 << 10
"""Characters of a command and its environment: it is kept while it may be asked about."""


class ExecConfig(msgspec.Struct, kw_only=True, rename="pascal"):
    """A command, and the streams to have of it. `privileged` is taken and has no meaning."""

    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: tuple[int, int] = (0, 0)
    """Rows and columns."""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    env: list[str] | None = None
    working_dir: str = ""
    cmd: list[str] | None = None


class ExecStart(msgspec.Struct, kw_only=True, rename="pascal"):
    """How it is to be started."""

    detach: bool = False
    tty: bool = False
    """What form the streams have on the connection: one for all, or told apart."""
    end_with_client: bool = False
    """wherry's own: end it if the client vanishes, though it has a terminal.

    Docker's command does not tell the engine of the detach keys, it just goes. wherry's does.
    """
    console_size: tuple[int, int] | None = None
    """Rows and columns."""


class ProcessConfig(msgspec.Struct, kw_only=True):
    """The command, as `ExecInspect` has it."""

    arguments: list[str]
    entrypoint: str
    privileged: bool
    tty: bool
    user: str


class ExecInspect(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /exec/ID/json`. `exit_code` is None until it has ended."""

    id: str = msgspec.field(name="ID")
    running: bool
    exit_code: int | None
    process_config: ProcessConfig
    open_stdin: bool
    open_stderr: bool
    open_stdout: bool
    can_remove: bool
    container_id: str = msgspec.field(name="ContainerID")
    detach_keys: str
    pid: int


def decode_exec(body: bytes) -> ExecConfig:
    """Decode and check the body of `POST /containers/ID/exec`. Raises InvalidRequest."""
    config = decode_body(body, ExecConfig)
    if not config.cmd:
        raise InvalidRequest("No exec command specified")
    words = [*config.cmd, *(config.env or ())]
    if any("\0" in word for word in words):
        raise InvalidRequest("a command or environment variable holds a NUL byte")
    if sum(map(len, words)) > _LONGEST:
        raise InvalidRequest(f"the command and its environment are more than {_LONGEST} characters")
    for entry in config.env or ():
        if not entry or entry.startswith("="):
            raise InvalidRequest(f"invalid environment variable: {entry}")
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidRequest(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute "
            "path"
        )
    _check_size(config.console_size)
    return config


def decode_exec_start(body: bytes) -> ExecStart:
    """Decode and check the body of `POST /exec/ID/start`. Raises InvalidRequest."""
    start = decode_body(body, ExecStart)
    if start.console_size is not None:
        if not start.tty:
            raise InvalidRequest("console size is only supported when TTY is enabled")
        _check_size(start.console_size)
    return start


def _check_size(size: tuple[int, int]) -> None:
    if not all(0 <= side < 1 << 16 for side in size):
        raise InvalidRequest(f"a terminal cannot have {size[1]} columns and {size[0]} rows")
