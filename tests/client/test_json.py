"""JSON without the json package, held against the json package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.client import json as ours

documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(documents)
def test_decoding_is_what_the_json_package_does(document: Any) -> None:
    for text in (json.dumps(document), json.dumps(document, indent=2, ensure_ascii=False)):
        assert ours.decode(text) == document
        assert ours.decode(f" \n{text}\t ".encode("utf-8", "surrogatepass").decode()) == document


@given(documents)
def test_encoding_is_what_the_json_package_does(document: Any) -> None:
    expected = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    assert ours.encode(document) == expected


@given(documents)
def test_indenting_is_what_the_json_package_does(document: Any) -> None:
    compact = json.dumps(document)
    assert ours.indent(compact) == json.dumps(document, indent=4)
    assert ours.indent(json.dumps(document, indent=1)) == json.dumps(document, indent=4)


def test_indenting_keeps_the_spelling_of_values() -> None:
    assert ours.indent(r'{"a":"\u003cb\u003e","n":1e3,"x":[ ]}') == (
        '{\n    "a": "\\u003cb\\u003e",\n    "n": 1e3,\n    "x": []\n}'
    )


@pytest.mark.parametrize(
    "text", ["", " ", "{", "[1,]", "nul", "NaN", "Infinity", "1 2", '{"a":1}x', "'a'", b"\xff"]
)
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ours.InvalidJSON):
        ours.decode(text)


@pytest.mark.parametrize("text", ["{", "[1,]", '["a"', "[1 2]", '{"a" 1}', '{"a":1 "b"}', '"a'])
def test_it_is_refused_where_the_json_package_was_never_imported(text: str) -> None:
    program = (
        "import sys; from wherry.client import json\n"
        "try: json.decode(sys.argv[1])\n"
        "except json.InvalidJSON: print('json' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, text],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout == "False\n", done.stderr


def test_a_document_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ours.InvalidJSON):
        ours.decode("[" * 200_000)


@given(st.text())
def test_any_text_decodes_or_is_refused(text: str) -> None:
    try:
        expected = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        with pytest.raises(ours.InvalidJSON):
            ours.decode(text)
    else:
        if "NaN" not in text and "Infinity" not in text:
            assert ours.decode(text) == expected
