"""The logs that this shim writes, few of them open at once."""

from collections import OrderedDict
from collections.abc import Callable

from wherry.shim.client.log import STDERR, STDOUT, LogWriter

_OPEN_AT_ONCE = 256


class Logs:
    """Keeps the files that were written last open, and lets go of the others."""

    def __init__(self) -> None:
        self._recent: OrderedDict[LogWriter, None] = OrderedDict()

    def open(self, path: str) -> "Log":
        """A log for one run of a container. Never fails: what cannot be written is dropped."""
        return Log(self, path)

    def touch(self, writer: LogWriter) -> None:
        """`writer` is about to write."""
        self._recent[writer] = None
        self._recent.move_to_end(writer)
        if len(self._recent) > _OPEN_AT_ONCE:
            self._recent.popitem(last=False)[0].release()

    def forget(self, writer: LogWriter) -> None:
        """`writer` writes no more."""
        self._recent.pop(writer, None)
        writer.release()


class Log:
    """One container's log, for one run."""

    def __init__(self, logs: Logs, path: str) -> None:
        self._logs = logs
        self._writer = LogWriter(path)
        self._open = STDOUT | STDERR
        logs.touch(self._writer)
        self._writer.begin()

    def write(self, stream: int, data: bytes) -> None:
        """Append `data` as output of `stream`."""
        self._logs.touch(self._writer)
        self._writer.write(stream, data)

    def sink(self, stream: int) -> Callable[[bytes], None]:
        """What to call with the output of `stream`."""
        return lambda data: self.write(stream, data)

    def ended(self, streams: int) -> Callable[[], None]:
        """What to call when `streams` (STDOUT, STDERR or both) have ended."""
        return lambda: self._end(streams)

    def close(self) -> None:
        """No more output comes."""
        self._end(STDOUT | STDERR)
        self._logs.forget(self._writer)

    def _end(self, streams: int) -> None:
        for stream in (STDOUT, STDERR):
            if streams & self._open & stream:
                self._open &= ~stream
                self._logs.touch(self._writer)
                self._writer.end(stream)
