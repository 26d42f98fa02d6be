"""Sizes and moments in Docker's words."""

from __future__ import annotations

import time

import pytest

from wherry.cli.errors import CommandError
from wherry.cli.moment import as_query, local_text, parse_rfc3339
from wherry.cli.units import binary_size, decimal_size, parse_size


@pytest.mark.parametrize(
    ("size", "four", "three"),
    [
        (0, "0B", "0B"), (999, "999B", "999B"), (1000, "1kB", "1kB"), (1024, "1.024kB", "1.02kB"),
        (1_982_464, "1.982MB", "1.98MB"), (10**12, "1TB", "1TB"), (123_456_789, "123.5MB", "123MB"),
    ],
)  # fmt: skip
def test_decimal_sizes(size: int, four: str, three: str) -> None:
    assert (decimal_size(size), decimal_size(size, 3)) == (four, three)


def test_binary_sizes() -> None:
    assert binary_size(1536) == "1.5KiB"
    assert binary_size(25_276_000_000) == "23.54GiB"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("100", 100), ("1b", 1), ("32k", 32768), ("64m", 67108864), ("1.5g", 1610612736),
        ("2GiB", 2**31), ("2gb", 2**31), ("1 M", 2**20), ("0", 0), ("1t", 2**40), ("5KB", 5120),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-1m", "1x", "m", "1.2.3k", "0x10", "1mm"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="invalid size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T00:00:01.000000005Z", 10**9 + 5),
        ("1970-01-01T01:00:00.5+01:00", 500_000_000),
        ("1970-01-02T00:00:00+00:00", 86400 * 10**9),
    ],
)
def test_times_are_read(text: str, nanoseconds: int) -> None:
    assert parse_rfc3339(text) == nanoseconds


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()


def test_times_without_a_zone_are_local(in_berlin: None) -> None:
    assert parse_rfc3339("1970-01-01T01:00:00") == 0
    assert parse_rfc3339("1970-01-01 02:00") == 3600 * 10**9
    assert local_text(0) == "1970-01-01 01:00:00 +0100 CET"


def test_since_and_until() -> None:
    assert as_query("") == ""
    assert as_query("1700000000.5") == "1700000000.5"
    assert as_query("1970-01-01T00:00:01.25Z") == "1.250000000"
    before = time.time()
    assert before - 61 < float(as_query("1m")) < time.time() - 59
    with pytest.raises(CommandError, match="not a time"):
        as_query("yesterday")
