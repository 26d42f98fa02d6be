"""File patterns of COPY and of .dockerignore."""

import pytest

from wherry.build import BuildError
from wherry.build.patterns import IgnoreRules, compile_pattern, is_wild


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.wasm", "a.wasm", True),
        ("*.wasm", "d/a.wasm", False),
        ("?.c", "a.c", True),
        ("[a-c].c", "b.c", True),
        ("[^a-c].c", "b.c", False),
        ("[[]x", "[x", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("**/a", "a", True),
        ("**/a", "x/y/a", True),
        ("**/a", "x/ya", False),
        ("a/**", "a/b/c", True),
        ("a.c", "abc", False),
        ("a+(b)", "a+(b)", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert (compile_pattern(pattern).fullmatch(path) is not None) is matches


@pytest.mark.parametrize("pattern", ["[", "[a", "[z-a]"])
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(BuildError, match="pattern"):
        compile_pattern(pattern)


def test_an_escaped_star_is_not_wild() -> None:
    assert is_wild("a*")
    assert not is_wild(r"a\*")
    assert is_wild(r"a\\*")


@pytest.mark.parametrize(
    ("rules", "path", "excluded"),
    [
        ("node_modules", "node_modules/x/y", True),
        ("node_modules", "src/node_modules", False),
        ("**/node_modules", "src/node_modules/x", True),
        ("/build/", "build/x", True),
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README.md", "OTHER.md", True),
        ("*.md\n!README.md\nREADME*", "README.md", True),
        ("docs\n!docs/keep", "docs/keep/this", False),
        ("docs\n!docs/keep", "docs/other", True),
        ("# *\n\n  x  ", "x", True),
        ("# *", "a", False),
        ("*", "a", True),
        (".", "a", False),
        ("./a/../b", "b", True),
        ("**", "a/b", True),
    ],
)
def test_ignore_rules(rules: str, path: str, excluded: bool) -> None:
    ignore = IgnoreRules(rules)
    state, done = ignore.root, ""
    for part in path.split("/"):
        done = f"{done}/{part}".lstrip("/")
        state = ignore.child(state, done)
    assert ignore.excluded(state) is excluded


def test_a_lone_exclamation_mark_is_refused() -> None:
    with pytest.raises(BuildError, match="dockerignore"):
        IgnoreRules("a\n!\n")
