"""A terminal of a few lines: what a person sees after all that was written to it."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\x1b\[(\d*)([A-Za-z])")


class Screen:
    """Knows what this project writes: lines, `\\r`, cursor up, erase line and erase below.

    `top` is how far the picture has scrolled; writing above it is an error, as on a real one
    it would spoil what stands there.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.lines = [""]
        self.row = self.column = 0
        self.scrolled = 0

    def write(self, data: bytes) -> None:
        """Takes what a program writes to its terminal."""
        text = data.decode()
        position = 0
        while position < len(text):
            found = _ESCAPE.match(text, position)
            if found:
                self._escape(int(found[1] or 1), found[2])
                position = found.end()
            else:
                self._character(text[position])
                position += 1

    def _escape(self, count: int, letter: str) -> None:
        if letter == "A":
            assert self.row - count >= self.scrolled, "the cursor cannot leave the screen"
            self.row -= count
        elif letter == "K":
            self.lines[self.row] = self.lines[self.row][: self.column]
        elif letter == "J":
            del self.lines[self.row + 1 :]
            self.lines[self.row] = self.lines[self.row][: self.column]
        else:
            assert letter == "m", f"unknown escape sequence {letter!r}"

    def _character(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._feed()
            self.column = 0
        else:
            assert character.isprintable()
            if self.column == self.columns:
                self._feed()
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _feed(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")
        self.scrolled = max(self.scrolled, self.row - self.rows + 1)

    def narrow(self, columns: int) -> None:
        """The window is made narrower: longer lines are folded, as most terminals do."""
        folded: list[str] = []
        row = self.row
        for index, line in enumerate(self.lines):
            if index == row:
                self.row = len(folded)
            pieces = [line[at : at + columns] for at in range(0, len(line), columns)]
            folded.extend(pieces or [""])
        self.lines, self.columns = folded, columns
        self.scrolled = max(0, len(folded) - self.rows)

    @property
    def text(self) -> list[str]:
        """All lines ever shown, what has scrolled away first; trailing spaces do not count."""
        lines = [line.rstrip() for line in self.lines]
        while lines and not lines[-1]:
            lines.pop()
        return lines
