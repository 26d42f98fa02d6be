"""What a person may have meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.index import COMMANDS
from wherry.cli.suggest import distance, nearest

words = st.text("abcd", max_size=8)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("imges", "images"), ("strat", "start"), ("psx", "ps"), ("buld", "build"), ("xyzzy", "")],
)
def test_a_slip_is_understood(typed: str, meant: str) -> None:
    assert nearest(typed, [name for name in COMMANDS if " " not in name]) == meant


@given(words, words)
def test_the_distance_is_one(left: str, right: str) -> None:
    far = distance(left, right)
    assert far == distance(right, left)
    assert (far == 0) == (left == right)
    assert abs(len(left) - len(right)) <= far <= max(len(left), len(right))
