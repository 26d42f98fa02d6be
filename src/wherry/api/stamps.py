"""Times before the lines of a log, as `docker logs --timestamps` shows them."""

from datetime import UTC, datetime


class LineStamps:
    """Puts the time before each line, in each stream for itself."""

    def __init__(self) -> None:
        self._within: dict[int, bool] = {}

    def feed(self, stream: int, time: int, data: bytes) -> bytes:
        """`data` of `stream`, written at `time` (nanoseconds since the epoch), stamped."""
        seconds, nanoseconds = divmod(time, 1_000_000_000)
        moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        stamp = f"{moment}.{nanoseconds:09}Z ".encode()
        # Only a newline ends a line: not a carriage return, as splitlines would have it.
        lines = [line + b"\n" for line in data.split(b"\n")]
        lines[-1] = lines[-1][:-1]
        begins = not self._within.get(stream, False)
        self._within[stream] = not data.endswith(b"\n")
        return b"".join(
            stamp + line if line and (number or begins) else line
            for number, line in enumerate(lines)
        )
