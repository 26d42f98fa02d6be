"""JSON that decides about trust is read in one way only."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.trust.strict_json import InvalidJson, parse

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(alphabet=st.characters(exclude_categories=["Cs"])), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([None, 2]))
def test_what_json_writes_is_read_as_it_was(value: object, indent: int | None) -> None:
    assert parse(json.dumps(value, indent=indent).encode()).plain() == value


@given(st.binary(max_size=200))
def test_whatever_else_it_is_there_is_a_line(data: bytes) -> None:
    try:
        parse(data)
    except InvalidJson as error:
        assert 1 <= error.line <= data.count(b"\n") + 1


@given(st.text(alphabet='{}[]:,"\\ \n01eE.+-tfn\ud7ff', max_size=60))
def test_what_the_standard_reader_refuses_is_refused(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(InvalidJson):
            parse(text.encode())
        return
    try:
        found = parse(text.encode()).plain()
    except InvalidJson:
        return  # A key twice, say, which the standard reader lets pass.
    assert found == expected


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('{"a": 1,\n "a": 2}', 2, '"a" stands there twice'),
        ('{"a": 1,\n "\\u0061": 2}', 2, "twice"),
        ('{"a": 1}\n\n{}', 3, "follows after the end"),
        ('{"a": 1,\n}', 2, "expected a key"),
        ('{"a": NaN}', 1, "expected a value"),
        ('{"a": 1 // why\n}', 1, "expected ',' or '}'"),
        ('["\\ud800"]', 1, "not well formed"),
        ('["tab\there"]', 1, "not well formed"),
        ("[" * 100 + "]" * 100, 1, "nested more than"),
        ("9" * 5000, 1, "expected a value"),
        ("\ufeff{}", 1, "expected a value"),
        ("", 1, "expected a value"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: str, line: int, said: str) -> None:
    with pytest.raises(InvalidJson, match=said.replace("{", r"\{")) as caught:
        parse(text.encode())
    assert caught.value.line == line


def test_every_value_knows_its_line() -> None:
    node = parse(b'{\n "a": [\n  1,\n  {"b": 2}\n ]\n}')
    assert isinstance(node.content, dict)
    inner = node.content["a"].content
    assert isinstance(inner, list)
    assert [node.line, node.content["a"].line, *(each.line for each in inner)] == [1, 2, 3, 4]
