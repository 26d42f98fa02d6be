"""Flags, read as Docker reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.errors import UsageError
from wherry.cli.flags import many, number, parse, switch, text

TABLE = (
    switch("interactive", "i", ""),
    switch("tty", "t", ""),
    switch("proxy", "", "", default=True),
    text("name", "n", ""),
    number("last", "", "", default=-1),
    many("env", "e", ""),
)


def test_nothing_given_is_the_defaults() -> None:
    arguments = parse(TABLE, [])
    assert arguments.switch("proxy")
    assert not arguments.switch("tty")
    assert (arguments.text("name"), arguments.number("last")) == ("", -1)
    assert (arguments.many("env"), arguments.words) == ([], [])
    assert not arguments.given("name")


@pytest.mark.parametrize(
    "words",
    [
        ["--name", "x"], ["--name=x"], ["-n", "x"], ["-nx"], ["-n=x"], ["-itn", "x"], ["-itnx"],
        ["--name", "y", "--name", "x"],
    ],
)  # fmt: skip
def test_a_value_is_given_in_many_ways(words: list[str]) -> None:
    assert parse(TABLE, words).text("name") == "x"


@pytest.mark.parametrize(
    ("words", "value"),
    [(["--proxy=false"], False), (["--proxy=0"], False), (["--proxy"], True), (["-i"], True)],
)
def test_a_switch_can_be_taken_back(words: list[str], value: bool) -> None:
    assert parse(TABLE, words).switch("proxy") is value


def test_lists_collect_and_values_may_look_like_flags() -> None:
    arguments = parse(TABLE, ["-e", "A=1", "--env=B==", "-e", "--tty", "--env", ""])
    assert arguments.many("env") == ["A=1", "B==", "--tty", ""]
    assert not arguments.switch("tty")


def test_flags_may_follow_words_unless_these_belong_to_a_container() -> None:
    assert parse(TABLE, ["a", "-t", "b"]).words == ["a", "b"]
    arguments = parse(TABLE, ["-i", "image", "-t", "--name", "x"], interspersed=False)
    assert arguments.words == ["image", "-t", "--name", "x"]
    assert not arguments.switch("tty")


def test_two_dashes_end_the_flags() -> None:
    assert parse(TABLE, ["-t", "--", "-i", "--", "x"]).words == ["-i", "--", "x"]
    assert parse(TABLE, ["-"]).words == ["-"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bogus"], "unknown flag: --bogus"),
        (["--interactiv"], "did you mean --interactive?"),
        (["-x"], "unknown flag: -x"),
        (["-ix"], "unknown flag: -x"),
        (["--name"], "--name needs a value"),
        (["-tn"], "-n needs a value"),
        (["--last=two"], 'invalid argument "two" for "--last"'),
        (["--tty=perhaps"], 'invalid argument "perhaps" for "--tty"'),
    ],
)
def test_mistakes_are_named_and_end_with_125(words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(TABLE, words)
    assert said in str(caught.value)
    assert caught.value.exit_code == 125


@given(st.lists(st.text(max_size=6), max_size=6), st.booleans())
def test_any_words_are_read_or_refused(words: list[str], interspersed: bool) -> None:
    try:
        arguments = parse(TABLE, words, interspersed=interspersed)
    except UsageError:
        return
    assert len(arguments.words) <= len(words)
