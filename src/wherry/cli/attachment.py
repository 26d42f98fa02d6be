"""The terminal of a person and the streams of a process, joined until the process ends."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import os

from wherry.cli.errors import CommandError, Failed
from wherry.client import ClientError, DaemonUnreachable, ProtocolError
from wherry.client.frames import SYSTEM_ERROR, FrameDecoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.session import Session
    from wherry.client import Response, Stream

_PORTION = 1 << 16
_NAMES = ("HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM")
_FORWARDED = tuple(getattr(_signal, f"SIG{name}") for name in _NAMES)
_PATIENCE = 3
"""How often a person interrupts before the command ends without the container."""


class Carrier:
    """Carries the streams of a process between a connection and this terminal.

    `path` is what the API calls the process: its terminal is told the size of this one.
    """

    keys_travel = False
    """The engine sees the detach keys too, and ends the connection by itself."""

    def __init__(
        self, session: Session, path: str, *, tty: bool, stdin: bool, detach_keys: str = ""
    ) -> None:
        self._session = session
        self._path = path
        self._tty = tty
        self._stdin = stdin
        self._keys = detach_keys
        self._detached = False

    def carry(self, stream: Stream) -> None:
        """Carries the streams until the process's output has ended.

        Raises `Failed` with 0 when the person has typed the detach keys.
        """
        if self._tty and self._stdin and os.isatty(0):
            from wherry.cli.terminal import RawMode

            self.resize()
            _signal.signal(_signal.SIGWINCH, lambda *_: self.resize())
            with RawMode(0):
                self._carry(stream)
        else:
            self._carry(stream)
        if self._detached:
            os.write(2, b"read escape sequence\n")
            raise Failed(0)

    def _carry(self, stream: Stream) -> None:
        if self._stdin:
            _thread.start_new_thread(self._carry_input, (stream,))
        if self._tty:
            while data := stream.receive():
                _write(1, data)
            return
        decoder = FrameDecoder()
        while data := stream.receive():
            for number, payload in decoder.feed(data):
                if number == SYSTEM_ERROR:
                    raise CommandError(payload.decode(errors="replace"), 125)
                _write(2 if number == 2 else 1, payload)

    def _carry_input(self, stream: Stream) -> None:
        """Runs in a thread of its own: stdin to the process, until either ends."""
        keys = None
        if self._tty and os.isatty(0):
            from wherry.cli.terminal import DETACH_KEYS, DetachKeys, parse_keys

            keys = DetachKeys(parse_keys(self._keys or DETACH_KEYS))
        while True:
            try:
                data = os.read(0, _PORTION)
            except OSError:
                data = b""
            if not data:
                stream.close_write()
                return
            if keys is not None:
                rest, self._detached = keys.feed(data)
                data = data if self.keys_travel else rest
            if data and not stream.send(data):
                return
            if self._detached:
                if not self.keys_travel:
                    stream.abort()
                return

    def resize(self) -> None:
        """Tells the process's terminal the size of this one."""
        from wherry.cli.terminal import window_size

        rows, columns = window_size()
        if rows and columns:
            self.post("resize", {"h": rows, "w": columns})

    def post(self, action: str, query: dict[str, int]) -> None:
        """A request beside the streams; a process that has just ended is no failure."""
        client = self._session.another_client()
        try:
            client.post(f"{self._path}/{action}", query)
        except ClientError:
            pass
        finally:
            client.close()


class Attachment(Carrier):
    """Joins this process to a container: `join` before it starts, then `follow` to its end."""

    def __init__(
        self,
        session: Session,
        container: str,
        *,
        tty: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
        detach_keys: str = "",
        forward_signals: bool = True,
    ) -> None:
        path = f"/containers/{container}"
        super().__init__(session, path, tty=tty, stdin=stdin, detach_keys=detach_keys)
        self._container = container
        self._stdout = stdout
        self._stderr = stderr
        self._forward = forward_signals and not tty
        self._stream: Stream | None = None
        self._end: Response | None = None
        self._interrupts = 0

    def join(self, condition: str) -> None:
        """Attaches, and asks for the exit code (`next-exit`, `removed` or `not-running`).

        When this returns nothing of what the container does can be missed.
        """
        client = self._session.client
        query = {
            "stream": True,
            "stdin": self._stdin,
            "stdout": self._stdout,
            "stderr": self._stderr,
            "detachKeys": self._keys,
        }
        attached = client.hijack(f"{self._path}/attach", query)
        waited = client.start("POST", f"{self._path}/wait", {"condition": condition})
        self._stream = attached.stream()
        self._end = waited.response()

    def follow(self, *, pipe_kills: bool = False) -> int:
        """Carries the streams until the container has ended; its exit code.

        With `pipe_kills` the container gets SIGPIPE when nobody reads stdout any more.
        Raises `Failed` with 0 when the person has typed the detach keys.
        """
        assert self._stream is not None
        if self._forward:
            for number in _FORWARDED:
                _signal.signal(number, self._on_signal)
        try:
            self.carry(self._stream)
        except BrokenPipeError:
            if pipe_kills and self._forward:
                self._send_signal(_signal.SIGPIPE)
            raise
        return self._exit_code()

    def _exit_code(self) -> int:
        assert self._end is not None
        try:
            answer = self._end.json()
        except (DaemonUnreachable, ProtocolError):
            raise CommandError(
                "the engine went away, the container goes on; "
                f"see 'wherry logs -f {self._container[:12]}'",
                125,
            ) from None
        failure = answer.get("Error") or {}
        if failure.get("Message"):
            raise CommandError(failure["Message"], answer.get("StatusCode") or 125)
        return int(answer.get("StatusCode", 0))

    def _on_signal(self, number: int, _frame: object) -> None:
        if number in (_signal.SIGINT, _signal.SIGTERM):
            self._interrupts += 1
            if self._interrupts >= _PATIENCE:
                os._exit(128 + number)
        self._send_signal(number)

    def _send_signal(self, number: int) -> None:
        self.post("kill", {"signal": int(number)})


def _write(descriptor: int, data: bytes) -> None:
    """The common case in one call; what is left over is the terminal's business."""
    try:
        written = os.write(descriptor, data)
    except BlockingIOError:
        written = 0
    if written < len(data):
        from wherry.cli.terminal import write_all

        write_all(descriptor, data[written:])
