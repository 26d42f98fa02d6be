"""How git repositories are named, and what a name cannot be made to mean."""

import pytest

from wherry.build import BuildError, Repository, parse_repository


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("https://h/x.git", Repository("https://h/x.git")),
        ("http://h:80/x.git#v1", Repository("http://h:80/x.git", "v1")),
        ("https://h/x.git#:a/b/", Repository("https://h/x.git", "HEAD", "a/b")),
        ("git://h/x#refs/pull/1:/a", Repository("git://h/x", "refs/pull/1", "a")),
        ("github.com/a/b#main", Repository("https://github.com/a/b", "main")),
        ("https://h/x.tar.gz", None),
        ("./github.com/a", None),
    ],
)  # fmt: skip
def test_what_is_meant(text: str, meant: Repository | None) -> None:
    assert parse_repository(text) == meant


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://h/x.git#--upload-pack=touch", "no branch"),
        ("https://h/x.git#+main", "no branch"),
        ("https://h/x.git#a b", "no branch"),
        ("https://h/x.git#a\nb", "no branch"),
        ("https://h/x.git#main^", "no branch"),
        ("https://h/x.git#main:../..", "no folder"),
        ("https://h/x.git#main:a/../../b", "no folder"),
        ("https:///x.git", "no URL"),
        ("git://", "no URL"),
        ("https://h:port/x.git", "no URL"),
        ("https://h/\nx.git", "no URL"),
        ("https://h/x y.git", "no URL"),
        ("git@h:x.git", "clone it first"),
        ("ssh://h/x.git", "clone it first"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        parse_repository(text)


@pytest.mark.parametrize("text", ["ext::sh -c touch%20/x", "file:///x.git", "-x.git", "fd::3.git"])
def test_what_names_none(text: str) -> None:
    assert parse_repository(text) is None
