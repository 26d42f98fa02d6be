"""Dockerfiles to instructions."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.build import BuildError, syntax
from wherry.build.lexer import read_script, split_words
from wherry.build.parser import parse, parse_trigger


def body(text: str) -> tuple[syntax.Instruction, ...]:
    return parse(f"FROM scratch\n{text}".encode(), "Dockerfile").stages[0].body


def only(text: str) -> syntax.Instruction:
    (instruction,) = body(text)
    return instruction


def refused(text: str) -> BuildError:
    with pytest.raises(BuildError) as caught:
        parse(text.encode(), "Dockerfile")
    error = caught.value
    assert error.file == "Dockerfile"
    assert error.line > 0
    assert "\n" not in str(error)
    return error


def test_keywords_may_be_in_any_case() -> None:
    dockerfile = parse(b"from scratch as Base\nCopy a b\n", "Dockerfile")
    assert dockerfile.stages[0].start.name == "base"
    assert isinstance(dockerfile.stages[0].body[0], syntax.Copy)


def test_stages_hold_what_follows_them() -> None:
    dockerfile = parse(
        b"ARG V=1\nFROM --platform=$BUILDPLATFORM base:$V AS one\nENV a=b\nFROM one\nUSER 5\n", "D"
    )
    one, two = dockerfile.stages
    assert dockerfile.args[0].names == (("V", "1"),)
    assert (one.start.image, one.start.platform) == ("base:$V", "$BUILDPLATFORM")
    assert [type(one) for one in one.body] == [syntax.Env]
    assert two.start.image == "one"
    assert two.body[0].line == 5


def test_continuations_join_and_drop_comments_and_empty_lines() -> None:
    instruction = only("RUN one \\\n# a comment\n\n  two\\\n three \\  \n\tfour\nUSER x"[:-7])
    assert isinstance(instruction, syntax.Run)
    assert instruction.command.words == ("one   two three \tfour",)


def test_two_escapes_at_the_end_are_no_continuation() -> None:
    first, second = body("ENV A a\\\\\nENV B b")
    assert isinstance(first, syntax.Env)
    assert isinstance(second, syntax.Env)
    assert first.pairs == (("A", "a\\\\"),)


def test_escape_directive() -> None:
    dockerfile = parse(b"# escape=`\nFROM scratch\nCOPY a `\n c:\\x\\\n", "Dockerfile")
    copy = dockerfile.stages[0].body[0]
    assert isinstance(copy, syntax.Copy)
    assert copy.destination == "c:\\x\\"


def test_directives_end_at_the_first_other_line() -> None:
    late = read_script(b"# hello\n# escape=`\nFROM scratch", "D")
    assert late.escape == "\\"
    assert read_script(b"#syntax = docker/dockerfile:1\n# escape=`\n", "D").directives == {
        "syntax": "docker/dockerfile:1",
        "escape": "`",
    }


def test_byte_order_mark_and_windows_line_ends() -> None:
    dockerfile = parse(b"\xef\xbb\xbfFROM scratch\r\nCOPY a \\\r\n /b\r\n", "Dockerfile")
    copy = dockerfile.stages[0].body[0]
    assert isinstance(copy, syntax.Copy)
    assert (copy.sources, copy.destination) == (("a",), "/b")


@pytest.mark.parametrize(
    ("text", "words", "for_shell"),
    [
        ('CMD ["a", "b c"]', ("a", "b c"), False),
        ("CMD []", (), False),
        ("CMD a 'b c'", ("a 'b c'",), True),
        ("CMD ['a']", ("['a']",), True),
        ('CMD ["a"', ('["a"',), True),
        ('CMD [ "\\/x\\"" ]', ('/x"',), False),
    ],
)
def test_exec_form_needs_json(text: str, words: tuple[str, ...], for_shell: bool) -> None:
    instruction = only(text)
    assert isinstance(instruction, syntax.Cmd)
    assert instruction.command == syntax.Command(words=words, for_shell=for_shell)


def test_name_value_pairs_and_the_old_form() -> None:
    label = only('LABEL a=1 "b c"="d e" f=g\\ h')
    assert isinstance(label, syntax.Label)
    assert label.pairs == (("a", "1"), ('"b c"', '"d e"'), ("f", "g\\ h"))
    env = only("ENV ONE TWO= THREE=world")
    assert isinstance(env, syntax.Env)
    assert env.pairs == (("ONE", "TWO= THREE=world"),)


def test_here_documents() -> None:
    copy, again = body(
        'COPY <<one.txt <<-"TWO" real /dst/\nfirst $x\none.txt\n\ttabs $x\n\tTWO\nCOPY a b'
    )
    assert isinstance(copy, syntax.Copy)
    assert copy.sources == ("real",)
    assert [(d.name, d.content, d.expand) for d in copy.heredocs] == [
        ("one.txt", "first $x\n", True),
        ("TWO", "tabs $x\n", False),
    ]
    assert again.line == 7


def test_here_document_as_a_script() -> None:
    run = only("RUN <<EOF\necho hello\nEOF")
    assert isinstance(run, syntax.Run)
    assert run.command == syntax.Command(words=("echo hello\n",), for_shell=True)
    for line in ("cat <<EOF >x", "<<EOF cat >x"):
        mixed = only(f"RUN {line}\nhello\nEOF")
        assert isinstance(mixed, syntax.Run)
        assert mixed.command.words == (f"{line}\nhello\nEOF",)


def test_trigger_keeps_its_here_document() -> None:
    trigger = only("ONBUILD COPY <<EOF /x\nhello\nEOF")
    assert isinstance(trigger, syntax.OnBuild)
    copy = parse_trigger(trigger.trigger)
    assert isinstance(copy, syntax.Copy)
    assert copy.heredocs[0].content == "hello\n"


def test_flags() -> None:
    copy = only("COPY --from=build --chown=1:2 --chmod=755 --link a b /c/")
    assert isinstance(copy, syntax.Copy)
    assert (copy.origin, copy.chown, copy.chmod, copy.link) == ("build", "1:2", "755", True)
    after = only("COPY -- --odd /c")
    assert isinstance(after, syntax.Copy)
    assert after.sources == ("--odd",)


def test_health_check() -> None:
    check = only("HEALTHCHECK --interval=1m30s --timeout=.5s --retries=3 CMD /check")
    assert isinstance(check, syntax.HealthCheck)
    assert check.check.test == ["CMD-SHELL", "/check"]
    assert (check.check.interval, check.check.timeout) == (90 * 10**9, 5 * 10**8)
    assert check.check.retries == 3


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "no FROM"),
        ("# nothing\n", 1, "no FROM"),
        ("COPY a b", 1, "before the first FROM"),
        ("FROM scratch\nCOPPY a b", 2, "did you mean COPY"),
        ("FROM scratch\nXYZZY", 2, "unknown instruction XYZZY"),
        ("FROM", 1, "needs an argument"),
        ("FROM a b", 1, "FROM image AS name"),
        ("FROM a AS 1x", 1, "no name for a stage"),
        ("FROM scratch\nCOPY a", 2, "a source and a destination"),
        ("FROM scratch\nCOPY --form=x a b", 2, "did you mean --from"),
        ("FROM scratch\nCOPY --from=$X a b", 2, "FROM $VARIABLE AS name"),
        ("FROM scratch\nCOPY --from= a b", 2, "--from needs"),
        ("FROM scratch\nCOPY --link=maybe a b", 2, "true or false"),
        ("FROM scratch\nCOPY --chown=1 --chown=2 a b", 2, "given twice"),
        ("FROM scratch\n\nCOPY <<EOF /x\nnever\n", 3, "never ends"),
        ("FROM scratch\nCOPY a <<EOF\nEOF", 2, "destination"),
        ("FROM scratch\nENV A", 2, "a value is missing"),
        ("FROM scratch\nENV a=b c", 2, "name=value"),
        ("FROM scratch\nARG =x", 2, "no name"),
        ('FROM scratch\nCMD ["a", 1]', 2, "strings only"),
        ("FROM scratch\nSHELL /bin/sh", 2, "JSON form"),
        ('FROM scratch\nVOLUME ["/a", ""]', 2, "none of them empty"),
        ("FROM scratch\nSTOPSIGNAL a b", 2, "one signal"),
        ("FROM scratch\nONBUILD FROM x", 2, "cannot trigger FROM"),
        ("FROM scratch\nONBUILD COPY x", 2, "a source and a destination"),
        ("FROM scratch\nHEALTHCHECK CMD", 2, "CMD command"),
        ("FROM scratch\nHEALTHCHECK --interval=5 CMD x", 2, "not a duration"),
        ("FROM scratch\nHEALTHCHECK --retries=x CMD x", 2, "a number"),
        ("FROM scratch\nRUN []", 2, "RUN needs a command"),
        ("# escape=x\nFROM scratch", 1, "escape character"),
        ("# escape=`\n# escape=`\nFROM scratch", 2, "given twice"),
        ("FROM scratch\nCMD \0", 2, "zero byte"),
    ],
)
def test_mistakes_name_their_line(text: str, line: int, message: str) -> None:
    error = refused(text)
    assert message in error.message
    assert error.line == line


def test_what_is_no_text_is_refused_with_its_line() -> None:
    with pytest.raises(BuildError, match=r"Dockerfile:2: .*UTF-8"):
        parse(b"FROM scratch\nCMD \xff\n", "Dockerfile")


def test_the_examples_parse() -> None:
    files = list((Path(__file__).parents[2] / "examples").glob("*/Dockerfile"))
    assert files
    for file in files:
        assert parse(file.read_bytes(), file.name).stages


@given(st.text(max_size=200))
def test_every_text_parses_or_is_refused_in_one_line(text: str) -> None:
    try:
        parse(text.encode("utf-8", "replace"), "Dockerfile")
    except BuildError as error:
        assert error.line > 0
        assert "\n" not in str(error)


KEYWORDS = ["FROM", "COPY", "ADD", "RUN", "ENV", "ARG", "LABEL", "CMD", "ONBUILD", "HEALTHCHECK"]
WORDS = [
    "scratch",
    "AS",
    "x",
    '["a"]',
    "a=b",
    "<<EOF",
    "EOF",
    "--from=x",
    "\\",
    "\n",
    "'",
    '"',
    "$",
]


@given(st.lists(st.sampled_from([*KEYWORDS, *WORDS]), max_size=30))
def test_every_jumble_of_words_parses_or_is_refused(words: list[str]) -> None:
    text = "FROM scratch\n" + " ".join(words).replace(" \n ", "\n")
    try:
        parse(text.encode(), "Dockerfile")
    except BuildError as error:
        assert error.line > 0


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=6))
def test_json_form_keeps_every_word(words: list[str]) -> None:
    import json

    text = json.dumps(words)
    command = only(f"CMD {text}")
    assert isinstance(command, syntax.Cmd)
    assert list(command.command.words) == words


@given(st.lists(st.from_regex(r"[a-z]+( [a-z]+)*", fullmatch=True), max_size=8))
def test_quoted_words_stay_together(words: list[str]) -> None:
    assert split_words(" ".join(f'"{word}"' for word in words), "\\") == [
        f'"{word}"' for word in words
    ]
