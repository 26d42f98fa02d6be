"""Columns, as Go's tabwriter makes them for Docker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.columns import align

cells = st.text("abcé ", max_size=15)


def test_dockers_table() -> None:
    rows = [
        ["CONTAINER ID", "IMAGE", "PORTS", "NAMES"],
        ["7016b002f78b", "registry/of/mine", "", "s1"],
    ]
    assert align(rows) == (
        "CONTAINER ID   IMAGE              PORTS     NAMES\n"
        "7016b002f78b   registry/of/mine             s1\n"
    )


def test_a_line_with_fewer_cells_ends_a_column() -> None:
    assert align([["a", "b"], ["alone"], ["a long first cell", "c"]]) == (
        "a         b\nalone\na long first cell   c\n"
    )


def test_nothing_is_nothing() -> None:
    assert align([]) == ""


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n))))
def test_every_cell_starts_below_the_one_above(rows: list[list[str]]) -> None:
    lines = align(rows).split("\n")[:-1]
    assert len(lines) == len(rows)
    if not rows:
        return
    starts = [0]
    for column in range(len(rows[0]) - 1):
        starts.append(starts[-1] + max(10, 3 + max(len(row[column]) for row in rows)))
    for row, line in zip(rows, lines, strict=True):
        for cell, start in zip(row, starts, strict=True):
            assert line[start : start + len(cell)] == cell
