"""Variables, quotes and escapes in the words of a Dockerfile."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.build.expansion import ExpansionError, expand

VARIABLES = {
    "PWD": "/home",
    "NAME": "wherry",
    "EMPTY": "",
    "FILE": "a.tar.gz",
}
PLAIN = st.text(st.characters(exclude_characters="\\'\"$`", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("he$NAME", "hewherry"),
        ("he${NAME}llo", "hewherryllo"),
        ("$NAMEllo", ""),
        ("he$", "he$"),
        ("$UNSET", ""),
        ("'he$NAME'", "he$NAME"),
        ('"he$NAME"', "hewherry"),
        (r"he\$NAME", "he$NAME"),
        (r'"he\$NAME"', "he$NAME"),
        (r'"a\b"', r"a\b"),
        (r'"a\"b"', 'a"b'),
        (r"a\b", "ab"),
        (r"a\\b", r"a\b"),
        (r"'a\b'", r"a\b"),
        ("${UNSET:-none}", "none"),
        ("${EMPTY:-none}", "none"),
        ("${EMPTY-none}", ""),
        ("${NAME:+some}", "some"),
        ("${EMPTY:+some}", ""),
        ("${EMPTY+some}", "some"),
        ("${UNSET:-${NAME}s}", "wherrys"),
        ("${UNSET:-'}'}", "}"),
        ("${NAME:?gone}", "wherry"),
        ("${FILE#*.}", "tar.gz"),
        ("${FILE##*.}", "gz"),
        ("${FILE%.*}", "a.tar"),
        ("${FILE%%.*}", "a"),
        ("${FILE%.zip}", "a.tar.gz"),
        ("${FILE%a*}", "a.t"),
        ("${FILE%%a*}", ""),
        ("${FILE#*a*r}", ".gz"),
        ("${FILE#?}", ".tar.gz"),
        ("${FILE%?}", "a.tar.g"),
        (r"${FILE%\*}", "a.tar.gz"),
        ("${FILE/a/b}", "b.tar.gz"),
        ("${FILE//a/b}", "b.tbr.gz"),
        ("${FILE/?.t/-}", "-ar.gz"),
        (r"${FILE/\*/-}", "a.tar.gz"),
        ("${1}", ""),
        ("a$1b", "ab"),
        ("한국어$NAME", "한국어wherry"),
    ],
)
def test_expands_as_the_reference_says(word: str, expected: str) -> None:
    assert expand(word, VARIABLES) == expected


@pytest.mark.parametrize(
    "word",
    ["'open", '"open', "${NAME", "${NAME:-x", "${}", "${NAME!x}", "${UNSET:?it is needed}", "${"],
)
def test_refuses_broken_words_in_one_line(word: str) -> None:
    with pytest.raises(ExpansionError) as caught:
        expand(word, VARIABLES)
    assert "\n" not in str(caught.value)


def test_error_of_a_needed_variable_is_the_authors() -> None:
    with pytest.raises(ExpansionError, match="VERSION: say which"):
        expand("${VERSION:?say which}", {})


def test_endless_nesting_is_refused() -> None:
    with pytest.raises(ExpansionError, match="deeply"):
        expand("${A:-" * 5000 + "}" * 5000, {})


def test_doubling_again_and_again_is_refused() -> None:
    value = "x"
    with pytest.raises(ExpansionError, match="grows beyond"):
        for _ in range(40):
            value = expand("$A$A", {"A": value})
    with pytest.raises(ExpansionError, match="grows beyond"):
        expand("${A//x/$B}", {"A": "x" * 5000, "B": "y" * 5000})


def test_backtick_can_be_the_escape_character() -> None:
    assert expand(r"c:\$NAME`$", VARIABLES, "`") == r"c:\wherry$"


def test_quotes_stay_within_documents() -> None:
    assert expand('it\'s "$NAME" \\$x', VARIABLES, keep_quotes=True) == 'it\'s "wherry" $x'


@given(PLAIN)
def test_plain_text_stays(text: str) -> None:
    assert expand(text, VARIABLES) == text


@given(st.text())
def test_single_quotes_protect_everything_but_themselves(text: str) -> None:
    quoted = "'" + text.replace("'", "'\"'\"'") + "'"
    assert expand(quoted, VARIABLES) == text


@given(st.text(alphabet="a$ {}:-+?#%/'\"\\`1*é", max_size=40))
def test_every_word_expands_or_is_refused(text: str) -> None:
    with contextlib.suppress(ExpansionError):
        assert isinstance(expand(text, VARIABLES), str)


@given(st.text(max_size=30), PLAIN)
def test_values_are_never_expanded_again(value: str, around: str) -> None:
    assert expand(f'{around}"$V"', {"V": value}) == around + value
