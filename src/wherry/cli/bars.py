"""What a transfer looks like at a terminal: a line a layer, redrawn in place.

The lines never take more of the screen than it has. Where there are more layers, those that are
being worked on are shown, and a last line tells of the others: nothing scrolls away while it moves.
"""

from __future__ import annotations

import time

from wherry.cli.printable import printable
from wherry.cli.short import ellipsis
from wherry.cli.units import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_WINDOW = 5.0
"""Seconds that a rate is the average of."""
_SMALLEST_BAR, _LARGEST_BAR = 10, 50
_ENDED = frozenset((
    "Already exists", "Pull complete", "Pushed", "Layer already exists", "Skipped", "Exists",
))  # fmt: skip
_IDLE = frozenset(("Pulling fs layer", "Waiting", "Preparing", "Retrying"))


class Bar:
    """One layer: what is done with it, and how far."""

    __slots__ = ("_marks", "current", "identity", "status", "total")

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.status = ""
        self.current = 0
        self.total = 0
        self._marks: list[tuple[float, int]] = []

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done with it."""
        return self.status in _ENDED or self.status.startswith("Mounted from ")

    @property
    def idle(self) -> bool:
        """Whether its turn has not come."""
        return self.status.partition(" in ")[0] in _IDLE

    def update(self, status: str, current: int, total: int, now: float) -> None:
        """What the engine said last; bytes, or 0 where there is nothing to count."""
        if status != self.status or current < self.current:
            self._marks = []
        self.status, self.current, self.total = status, current, total
        while len(self._marks) > 1 and self._marks[1][0] < now - _WINDOW:
            del self._marks[0]
        if not self._marks or now - self._marks[-1][0] > 0.1:
            self._marks.append((now, current))

    def rate(self, now: float) -> float:
        """Bytes a second over the last seconds, 0 while that cannot be said."""
        if not self._marks or now - self._marks[0][0] < 0.5:
            return 0.0
        begun, first = self._marks[0]
        return (self.current - first) / (now - begun)

    def line(self, width: int, now: float) -> str:
        """All of it in less than `width` columns: what there is no room for is left out."""
        room = max(width - 1, 1)
        start = f"{self.identity}: {self.status}"
        if self.total <= 0 and self.current <= 0:
            return _cut(start, room)
        size = decimal_size(self.current, 3)
        known = 0 < self.current <= self.total or (self.current == 0 < self.total)
        numbers = f"  {f'{size}/{decimal_size(self.total, 3)}' if known else size:>13}"
        rate = self.rate(now)
        speed = f"  {f'{decimal_size(rate, 3)}/s':>8}" if rate >= 1 else ""
        left = f"  {_left(self.total - self.current, rate):>6}" if speed and known else ""
        while len(start) + len(numbers) + len(speed) + len(left) > room and (speed or left):
            speed, left = (speed, "") if left else ("", "")
        free = room - max(len(start), 27) - len(numbers) - max(len(speed), 10) - max(len(left), 8)
        bar = ""
        if known and free - 4 >= _SMALLEST_BAR:
            length = min(_LARGEST_BAR, free - 4)
            start = f"{start:<27}"
            bar = f"  {_drawn(self.current / self.total, length)}"
        return _cut(f"{start}{bar}{numbers}{speed}{left}", room)


def _drawn(part: float, length: int) -> str:
    done = min(int(part * length), length - 1)
    if part >= 1:
        return f"[{'=' * length}]"
    return f"[{'=' * done}>{' ' * (length - 1 - done)}]"


def _left(size: int, rate: float) -> str:
    """How long it will take: `4s`, `3m10s`, `2h05m`."""
    seconds = int(size / rate) + 1 if size > 0 else 0
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02}m" if seconds < 360_000 else ""


def _cut(text: str, room: int) -> str:
    return ellipsis(printable(text), room)


class Bars:
    """The lines of all layers. `write` takes a frame in one piece; `size` is asked before each."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        size: Callable[[], tuple[int, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._size = size
        self._clock = clock
        self._bars: dict[str, Bar] = {}
        self._drawn: list[str] = []
        self._changed = False
        self._drawing = False

    def update(self, identity: str, status: str, progress: Any) -> None:
        """What the engine says about a layer."""
        bar = self._bars.get(identity)
        if bar is None:
            bar = self._bars[identity] = Bar(identity)
        detail = progress if isinstance(progress, dict) else {}
        current, total = (detail.get(name) for name in ("current", "total"))
        bar.update(
            status,
            current if isinstance(current, int) else 0,
            total if isinstance(total, int) else 0,
            self._clock(),
        )
        self._changed = True

    def tick(self) -> None:
        """Draws what has changed, if anything has; to be called some times a second.

        A signal handler may do so: one that comes within a picture draws no second one.
        """
        if not self._drawing and (self._changed or self._moving()):
            self._draw()

    def line(self, text: str) -> None:
        """A line that stays; the bars above it are done with."""
        self.close()
        self._write(f"{_cut(text, 1 << 16)}\n".encode())

    def close(self) -> None:
        """The last picture; what comes next begins below it."""
        if self._changed:
            self._draw()
        self._bars, self._drawn = {}, []

    def _moving(self) -> bool:
        return any(bar.total and not bar.ended for bar in self._bars.values())

    def _draw(self) -> None:
        self._drawing = True
        self._changed = False
        rows, width = self._size()
        rows, width = rows or 24, width or 80
        lines = list(self._lines(rows - 1, width))
        out = [_back(self._drawn, width)]
        out.extend(f"{line}\x1b[K\n" for line in lines)
        if self._drawn:
            out.append("\x1b[J")
        self._write("".join(out).encode(errors="replace"))
        self._drawn = lines
        self._drawing = False

    def _lines(self, room: int, width: int) -> Iterable[str]:
        now = self._clock()
        bars = list(self._bars.values())
        if len(bars) <= max(room, 1):
            return [bar.line(width, now) for bar in bars]
        shown = self._most_telling(bars, max(room - 1, 0))
        hidden = [bar for bar in bars if bar not in shown]
        return [
            *(bar.line(width, now) for bar in bars if bar in shown),
            _cut(_summary(hidden), max(width - 1, 1)),
        ]

    @staticmethod
    def _most_telling(bars: list[Bar], count: int) -> set[Bar]:
        """Layers being worked on, then those that come next, then the last that are done."""
        working = [bar for bar in bars if not bar.ended and not bar.idle]
        waiting = [bar for bar in bars if bar.idle]
        ended = [bar for bar in reversed(bars) if bar.ended]
        return set([*working, *waiting, *ended][:count])


def _back(drawn: list[str], width: int) -> str:
    """To where the last picture began: a terminal made narrower has folded its lines since."""
    rows = sum((max(len(line), 1) + width - 1) // width for line in drawn)
    return f"\r\x1b[{rows}A" if rows else ""


def _summary(bars: list[Bar]) -> str:
    """`… 40 more layers: 12 done, 28 waiting`."""
    done = sum(bar.ended for bar in bars)
    waiting = sum(bar.idle for bar in bars)
    parts = ((done, "done"), (len(bars) - done - waiting, "under way"), (waiting, "waiting"))
    told = ", ".join(f"{count} {what}" for count, what in parts if count)
    return f"… {len(bars)} more layer{'s' if len(bars) != 1 else ''}: {told}"
