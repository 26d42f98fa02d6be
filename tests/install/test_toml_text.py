"""Additions to TOML keep every other byte, and are checked by reading the text again."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.install.toml_text import CannotAdd, add_block, add_import, cut, read_toml

HEADS = st.sampled_from(
    [
        "",
        "# a comment without a newline at its end is not to be run into",
        "# mine\n\n",
        "version = 2\n",
        "version = 3 # the newest\nroot = '/var'\n",
        '"version" = 2\n',
        "oom_score = -999\nversion = 2\n",
        "version = 2\r\n",
        'state = """\nversion = 2\n[x]\n"""\n',
    ]
)
IMPORTS = st.sampled_from(
    [
        "",
        "imports = []\n",
        'imports = ["/etc/a.toml"]\n',
        'imports = ["/etc/a.toml", "b]#.toml",] # ]\n',
        "imports = [\n  \"/etc/a.toml\", # first ]\n  '/etc/b.toml' # second\n]\n",
        'imports=["""\n]""", ]\n',
        "imports = [\n\n]\n",
    ]
)
TABLES = st.sampled_from(
    [
        "",
        "[grpc]\n  address = '/run/c.sock'\n",
        "[plugins.'x']\nimports = [1]\n",
        "[[streams]]\na = 1\n[[streams]]\na = 2",
    ]
)


@given(HEADS, IMPORTS, TABLES)
def test_an_import_is_added_and_cut_without_a_trace(head: str, imports: str, tables: str) -> None:
    text = head + ("\n" if imports and head.startswith("# a") else "") + imports + tables
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    changed, added = add_import(text, "/etc/conf.d/wherry*.toml")
    after = tomllib.loads(changed)
    assert after.pop("imports") == [*before.pop("imports", []), "/etc/conf.d/wherry*.toml"]
    assert after == before
    assert changed.replace(added, "", 1) == text
    assert cut(changed, added) == text


@given(HEADS, TABLES)
def test_a_block_is_added_and_cut_without_a_trace(head: str, tables: str) -> None:
    text = head + "\n" + tables
    before = tomllib.loads(text)
    expected = {**before, "wherry": {"a": 1}}
    changed, added = add_block(text, "# ours\n[wherry]\na = 1\n", expected)
    assert tomllib.loads(changed) == expected
    assert cut(changed, added) == text


def test_a_table_written_inline_is_not_touched() -> None:
    text = "plugins = { cri = {} }\n"
    with pytest.raises(CannotAdd, match="inline"):
        add_block(text, "[plugins.cri.x]\na = 1\n", {"plugins": {"cri": {"x": {"a": 1}}}})


def test_an_import_in_an_unusual_spelling_is_not_touched() -> None:
    with pytest.raises(CannotAdd):
        add_import('"imports" = ["a"]\n', "b")
    with pytest.raises(CannotAdd, match="no list"):
        add_import('imports = "a"\n', "b")


def test_text_that_is_there_twice_or_not_at_all_is_not_cut() -> None:
    assert cut("a b a", "a") is None
    assert cut("a b a", "c") is None
    assert read_toml(b"a = 1") == {"a": 1}
