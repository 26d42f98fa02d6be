"""How a build looks while it goes on: a line a step, rewritten in place at a terminal."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DIM, _BOLD, _GREEN, _PLAIN = "\033[2m", "\033[1m", "\033[32m", "\033[0m"
_REWRITE = "\r\033[K"


class PlainView:
    """For pipes and logs: `[2/3] COPY a /a`, `[2/3] cached`, and what the steps write."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._rest = ""
        self._count = ""
        self._seconds: float | None = None

    def feed(self, text: str, seconds: float | None = None) -> None:
        """Takes what the engine says, in any portions, and how long the step took that it ends."""
        self._seconds = seconds
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(line)

    def pause(self) -> None:
        """Something else writes now: it begins on a line of its own."""

    def close(self) -> None:
        """The build is over."""
        if self._rest:
            self._line(self._rest)
            self._rest = ""

    def _line(self, line: str) -> None:
        if line.startswith("Step ") and " : " in line:
            count, _, instruction = line[5:].partition(" : ")
            self._step(count, instruction)
        elif line == " ---> Using cache":
            self._cached()
        elif line.startswith(" ---> "):
            self._done()
        elif line.startswith(("Successfully built ", "Successfully tagged ")):
            self._made(line.split()[1], line.split()[2])
        elif line.strip() and not line.startswith("Removing intermediate container "):
            self._output(line)

    def _step(self, count: str, instruction: str) -> None:
        self._count = count
        self._write(f"[{count}] {instruction}\n")

    def _cached(self) -> None:
        self._write(f"[{self._count}] cached\n")

    def _done(self) -> None:
        """The step is complete."""

    def _made(self, what: str, name: str) -> None:
        """`what` is built (then `name` is the ID) or tagged."""
        self._write(f"Successfully {what} {name}\n")

    def _output(self, line: str) -> None:
        self._write(f"{line}\n")


class LiveView(PlainView):
    """For a terminal: each step's line is completed when the step is: `[2/3] COPY …  0.1s`."""

    def __init__(self, write: Callable[[str], object], width: int) -> None:
        super().__init__(write)
        self._width = width or 80
        self._begun = time.monotonic()
        self._title = ""
        self._title_begun = 0.0
        self._state = ""
        self._open = False
        self._image = ""
        self._names: list[str] = []

    def close(self) -> None:
        """Finish the line that is open, and tell what was made."""
        super().close()
        self._done()
        if self._image:
            seconds = time.monotonic() - self._begun
            names = ", ".join(self._names) or "an image without a name"
            self._write(f"{_BOLD}{names}{_PLAIN} is {self._image}, built in {seconds:.1f}s\n")
            self._image = ""

    def _step(self, count: str, instruction: str) -> None:
        self._done()
        self._title = f"[{count}] {instruction}"
        self._title_begun = time.monotonic()
        self._state = ""
        self._open = True
        self._write(self._fit(self._title, 0))

    def _cached(self) -> None:
        self._state = "cached"

    def _done(self) -> None:
        if self._open:
            seconds = self._seconds
            if seconds is None:
                seconds = time.monotonic() - self._title_begun
            state = self._state or f"{seconds:.1f}s"
            title = self._fit(self._title, len(state) + 2)
            self._write(f"{_REWRITE}{title}  {_GREEN}{state}{_PLAIN}\n")
        self._open = False

    def _made(self, what: str, name: str) -> None:
        self._done()
        if what == "built":
            self._image = name
        else:
            self._names.append(name)

    def pause(self) -> None:
        """End the line that is open, for somebody else is going to write."""
        if self._open:
            self._write(f"{_REWRITE}{self._fit(self._title, 0)}\n")
            self._open = False

    def _output(self, line: str) -> None:
        self.pause()
        self._write(f"{_DIM}  {line}{_PLAIN}\n")

    def _fit(self, text: str, reserved: int) -> str:
        room = max(10, self._width - reserved - 1)
        safe = "".join(c if c.isprintable() else " " for c in text)
        return safe if len(safe) <= room else f"{safe[: room - 1]}…"
