"""Durations in Go's notation and in Docker's words."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.durations import human_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1s", 10**9), ("1h30m", 5400 * 10**9), ("1.5s", 1_500_000_000), ("300ms", 300_000_000),
        ("2us", 2000), ("2µs", 2000), ("7ns", 7), ("0", 0), ("-1s", -(10**9)), ("+1m", 60 * 10**9),
        ("2μs", 2000), (".5s", 500_000_000), ("4.35ms", 4_350_000),
    ],
)  # fmt: skip
def test_durations_are_read_as_go_reads_them(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", ".", "1", "1d", "1s2", "s", "1.2.3s", "300000000h"])
def test_what_go_does_not_read_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@given(st.text("0123456789hmsun.µ-+ ", max_size=8))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"), (1, "1 second"), (59.9, "59 seconds"), (60, "About a minute"),
        (119, "About a minute"), (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"),
        (5399, "About an hour"), (5400, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"),
        (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (59 * 86400, "8 weeks"),
        (60 * 86400, "2 months"), (729 * 86400, "24 months"), (730 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_durations_are_told_as_docker_tells_them(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text
