"""Text in columns, as Go's text/tabwriter lays it out for Docker."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def align(rows: Sequence[Sequence[str]], *, minimum: int = 10, padding: int = 3) -> str:
    """Lines of cells; a column is as wide as its widest cell needs, the last cell is as it is.

    Columns run through neighbouring lines that have them, so a line with fewer cells ends them.
    """
    widths = [[0] * max(0, len(row) - 1) for row in rows]
    for column in range(max((len(row) for row in rows), default=0)):
        start = 0
        while start < len(rows):
            if len(rows[start]) - 1 <= column:
                start += 1
                continue
            end = start
            while end < len(rows) and len(rows[end]) - 1 > column:
                end += 1
            longest = max(len(row[column]) for row in rows[start:end])
            for line in range(start, end):
                widths[line][column] = max(minimum, longest + padding)
            start = end
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, line, strict=False)) + row[-1] + "\n"
        for row, line in zip(rows, widths, strict=True)
    )
