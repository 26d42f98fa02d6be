"""How a build looks while it goes on: line by line in a pipe, one line a step at a terminal."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DIM, _BOLD, _GREEN, _PLAIN = "\033[2m", "\033[1m", "\033[32m", "\033[0m"
_REWRITE = "\r\033[K"


class PlainView:
    """The engine's own words."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def feed(self, text: str) -> None:
        """Takes what the engine says, in any portions."""
        self._write(text)

    def close(self) -> None:
        """The build is over."""


class BuildView(PlainView):
    """Each step is one line that is completed when the step is done: `[2/3] COPY …  0.1s`."""

    def __init__(self, write: Callable[[str], object], width: int = 0) -> None:
        super().__init__(write)
        from wherry.cli.terminal import window_size

        self._width = width or window_size()[1] or 80
        self._begun = time.monotonic()
        self._rest = ""
        self._step = ""
        self._step_begun = 0.0
        self._open = False
        self._cached = False
        self._image = ""
        self._names: list[str] = []

    def feed(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(line)

    def close(self) -> None:
        if self._rest:
            self._line(self._rest)
            self._rest = ""
        self._finish_step()
        if self._image:
            seconds = time.monotonic() - self._begun
            names = ", ".join(self._names) or "image without a name"
            self._write(f"{_BOLD}{names}{_PLAIN} {self._image} built in {seconds:.1f}s\n")
            self._image = ""

    def _line(self, line: str) -> None:
        if line.startswith("Step ") and " : " in line:
            self._finish_step()
            count, _, instruction = line[5:].partition(" : ")
            self._step = f"[{count}] {instruction}"
            self._step_begun = time.monotonic()
            self._open = True
            self._cached = False
            self._write(self._fit(self._step, 0))
        elif line == " ---> Using cache":
            self._cached = True
        elif line.startswith(" ---> "):
            self._finish_step()
        elif line.startswith("Successfully built "):
            self._finish_step()
            self._image = line[len("Successfully built ") :]
        elif line.startswith("Successfully tagged "):
            self._names.append(line[len("Successfully tagged ") :])
        elif line.strip():
            if self._open:
                self._write(f"{_REWRITE}{self._fit(self._step, 0)}\n")
                self._open = False
            self._write(f"{_DIM}  {line}{_PLAIN}\n")

    def _finish_step(self) -> None:
        if self._open:
            seconds = time.monotonic() - self._step_begun
            state = "cached" if self._cached else f"{seconds:.1f}s"
            head = self._fit(self._step, len(state) + 2)
            self._write(f"{_REWRITE}{head}  {_GREEN}{state}{_PLAIN}\n")
        self._open = False

    def _fit(self, text: str, reserved: int) -> str:
        room = max(10, self._width - reserved - 1)
        safe = "".join(c if c.isprintable() else " " for c in text)
        return safe if len(safe) <= room else f"{safe[: room - 1]}…"
