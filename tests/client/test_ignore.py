"""`.dockerignore`, by the examples of Docker's documentation and its corner cases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.client.ignore import IgnoreRules, InvalidPattern


@pytest.mark.parametrize(
    ("rules", "ignored", "kept"),
    [
        ("*/temp*", ["some/temporary.txt", "some/temp"], ["temp", "a/b/temp", "some/attempt"]),
        ("*/*/temp*", ["a/b/temporary.txt"], ["a/temp"]),
        ("temp?", ["tempa", "temp1/in/it"], ["temp", "tempab", "a/tempa"]),
        ("**/*.go", ["a.go", "x/y/a.go"], ["a.got", "go"]),
        ("*.md\n!README.md", ["a.md", "CHANGES.md"], ["README.md", "docs/a.md"]),
        ("*.md\n!README*.md\nREADME-secret.md", ["README-secret.md"], ["README-a.md"]),
        ("*.md\nREADME-secret.md\n!README*.md", ["a.md"], ["README-secret.md"]),
        ("/dist", ["dist", "dist/a"], ["a/dist"]),
        ("dist/", ["dist", "dist/a"], ["dis"]),
        ("./a/../b", ["b", "b/c"], ["a"]),
        ("*\n!src", ["a", "b/c"], ["src", "src/x/y"]),
        ("node_modules\n!node_modules/keep", ["node_modules/a"], ["node_modules/keep/b"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["b", "a"]),
        ("a/**", ["a/x", "a/x/y"], ["a", "b"]),
        ("**", ["a", "a/b"], []),
        ("[a-c].txt", ["a.txt", "c.txt"], ["d.txt"]),
        ("[^a-c].txt", ["d.txt"], ["a.txt"]),
        (r"\*.txt", ["*.txt"], ["a.txt"]),
        ("# comment\n\n  a  \n", ["a"], ["# comment", "b"]),
        ("\ufeffa", ["a"], ["b"]),
        ("a.b", ["a.b"], ["axb"]),
        ("!only", [], ["only", "a"]),
    ],
)
def test_rules(rules: str, ignored: list[str], kept: list[str]) -> None:
    parsed = IgnoreRules(rules)
    assert [path for path in ignored if not parsed.ignores(path)] == []
    assert [path for path in kept if parsed.ignores(path)] == []


@pytest.mark.parametrize(
    ("rules", "prunes"),
    [
        ("a", True),
        ("a\n!a/keep", False),
        ("a\n!b/keep", True),
        ("a\n!**/keep", False),
        ("a\n!a*/keep", False),
        ("a\n!b*/keep", True),
    ],
)
def test_a_folder_is_entered_only_when_something_in_it_may_be_kept(
    rules: str, prunes: bool
) -> None:
    assert IgnoreRules(rules).prunes("a") is prunes


@pytest.mark.parametrize("rules", ["!", "[a", "[z-a]"])
def test_what_is_no_pattern_is_named(rules: str) -> None:
    with pytest.raises(InvalidPattern, match="dockerignore"):
        IgnoreRules(rules)


@given(
    st.lists(st.text("ab*?/!.", min_size=1, max_size=8), max_size=5),
    st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_pruning_never_loses_a_file(rules: list[str], parts: list[str]) -> None:
    try:
        parsed = IgnoreRules("\n".join(rules))
    except InvalidPattern:
        return
    folder, path = parts[0], "/".join(parts)
    if folder != path and parsed.ignores(folder) and parsed.prunes(folder):
        assert parsed.ignores(path)
