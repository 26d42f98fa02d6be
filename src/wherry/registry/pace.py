"""How slowly an answer may come: a server that sends a byte now and then is never silent."""

import io
from time import monotonic
from typing import Any

SECONDS = 60.0
"""How long a server may say nothing, and how long next to nothing."""
LEAST = 60_000
"""Bytes in that time that are more than next to nothing: as slow as the slowest modems were."""


class TooSlow(TimeoutError):
    """The server goes on sending, but so little that it had better be asked again."""


class Paced(io.RawIOBase):
    """What comes over a connection, as long as enough of it does.

    Only the time counts that was spent waiting for the server, after its first byte.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._began = False
        self._waited = 0.0
        self._came = 0

    def readinto(self, buffer: Any) -> int | None:
        """See RawIOBase. Raises TooSlow, and what the connection raises."""
        before = monotonic()
        count = self._raw.readinto(buffer)
        if not self._began:
            self._began = True
            return count
        self._waited += monotonic() - before
        self._came += count or 0
        if self._waited >= SECONDS:
            if self._came < LEAST:
                raise TooSlow(f"{self._came} bytes in {self._waited:.0f} s")
            self._waited, self._came = 0.0, 0
        return count

    def readable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The connection's."""
        return self._raw.fileno()

    def close(self) -> None:
        """Close the connection, too."""
        super().close()
        self._raw.close()
