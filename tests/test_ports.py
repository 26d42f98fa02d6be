"""Ports as people write them, in EXPOSE, `-p`, annotations and rules of egress."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.ports import LAST, parse_range


def test_a_port_is_a_range_of_one() -> None:
    assert list(parse_range("80")) == [80]


def test_both_ends_of_a_range_are_in_it() -> None:
    assert list(parse_range("8000-8002")) == [8000, 8001, 8002]
    assert parse_range("1-65535") == range(1, LAST + 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "0",
        "65536",
        "90-80",
        "-1",
        "1-",
        "1-70000",
        "²",
        "٣",
        "1_0",
        " 80",
        "+80",
        "000080",
    ],
)
def test_what_is_no_port_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no port"):
        parse_range(text)


@given(st.text(max_size=12))
def test_any_text_is_ports_or_refused_in_one_line(text: str) -> None:
    try:
        found = parse_range(text)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert 0 < found[0] <= found[-1] <= LAST
