"""Times before the lines of a log."""

from wherry.api.stamps import LineStamps

_TIME = 1_700_000_000_000_000_001
_STAMP = b"2023-11-14T22:13:20.000000001Z "


def test_each_line_gets_the_time_it_was_written() -> None:
    assert LineStamps().feed(1, _TIME, b"a\nb\n") == _STAMP + b"a\n" + _STAMP + b"b\n"


def test_a_line_that_comes_in_pieces_is_stamped_once() -> None:
    stamps = LineStamps()
    assert stamps.feed(1, _TIME, b"a") == _STAMP + b"a"
    assert stamps.feed(1, _TIME, b"b\nc") == b"b\n" + _STAMP + b"c"


def test_streams_are_stamped_each_for_itself() -> None:
    stamps = LineStamps()
    assert stamps.feed(1, _TIME, b"a") == _STAMP + b"a"
    assert stamps.feed(2, _TIME, b"b") == _STAMP + b"b"
    assert stamps.feed(1, _TIME, b"c") == b"c"


def test_a_carriage_return_begins_no_line() -> None:
    assert LineStamps().feed(1, _TIME, b"1%\r2%\r\n") == _STAMP + b"1%\r2%\r\n"
