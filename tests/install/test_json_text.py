"""Members are set and taken away, and nothing else of the text changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.install.json_text import InvalidJson, read_object, set_member, unset_member

SPACE = st.sampled_from(["", " ", "\n", "\n  ", "\r\n\t", "  \n\n "])
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NAMES = st.sampled_from(["features", "runtimes", "a", "containerd-snapshotter", 'q"\\', "ü"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)


def written(draw: st.DrawFn, value: Any) -> str:
    """The value as JSON with white space wherever it may stand."""
    space = draw(SPACE)
    if isinstance(value, dict):
        members = [
            f"{draw(SPACE)}{json.dumps(name)}{draw(SPACE)}:{space}{written(draw, member)}{space}"
            for name, member in value.items()
        ]
        return "{" + (",".join(members) or space) + "}"
    if isinstance(value, list):
        return "[" + ",".join(f"{space}{written(draw, item)}{space}" for item in value) + "]"
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@st.composite
def texts(draw: st.DrawFn) -> str:
    value = draw(st.dictionaries(NAMES, VALUES, max_size=4))
    return draw(SPACE) + written(draw, value) + draw(SPACE)


PATHS = st.sampled_from(
    [("features", "containerd-snapshotter"), ("runtimes", "wherry"), ("a",), ("x", "y", "z")]
)


@given(texts(), PATHS, VALUES)
def test_a_member_is_set_and_unset_without_a_trace(
    text: str, keys: tuple[str, ...], value: Any
) -> None:
    before = read_object(text)
    try:
        changed, insertion = set_member(text, keys, value)
    except InvalidJson as error:
        assert "is no object" in str(error)
        return
    expected = json.loads(json.dumps(before))
    here = expected
    for key in keys[:-1]:
        here = here.setdefault(key, {})
    here[keys[-1]] = value
    assert read_object(changed) == expected
    assert unset_member(changed, keys, insertion) == text


@given(texts(), PATHS, VALUES, st.text(alphabet="bcd", min_size=1, max_size=3))
def test_what_was_added_meanwhile_is_kept(
    text: str, keys: tuple[str, ...], value: Any, name: str
) -> None:
    try:
        changed, insertion = set_member(text, keys, value)
        more, _ = set_member(changed, (*keys[:-1], name), "the person's")
    except InvalidJson:
        return
    left = read_object(unset_member(more, keys, insertion))
    expected = read_object(set_member(text, (*keys[:-1], name), "the person's")[0])
    if insertion.replaced is None:
        assert left == expected


def test_the_neighbours_indentation_is_taken_over() -> None:
    text = '{\n\t"debug": true\n}\n'
    assert set_member(text, ("features", "x"), True)[0] == (
        '{\n\t"debug": true,\n\t"features": {\n\t\t"x": true\n\t}\n}\n'
    )
    text = '{"debug": true, "features": {}}'
    changed, insertion = set_member(text, ("features", "x"), True)
    assert read_object(changed) == {"debug": True, "features": {"x": True}}
    assert unset_member(changed, ("features", "x"), insertion) == text
    assert set_member('{"a": 1}', ("b",), 2)[0] == '{"a": 1, "b": 2}'


def test_a_members_value_is_given_back() -> None:
    text = '{ "features": { "containerd-snapshotter" : false } }'
    changed, insertion = set_member(text, ("features", "containerd-snapshotter"), True)
    assert changed == '{ "features": { "containerd-snapshotter" : true } }'
    assert unset_member(changed, ("features", "containerd-snapshotter"), insertion) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1,}', "line 1, column"),
        ("{\n  // mine\n}", "line 2, column 3"),
        ("[]", "no JSON object"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": 1, "a": 2}', "'a' twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"features": []}', "'features' is no object"),
    ],
)
def test_what_cannot_be_edited_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(InvalidJson, match=reason):
        set_member(text, ("features", "x"), True)
