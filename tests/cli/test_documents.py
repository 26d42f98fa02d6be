"""What README and docs tell people to type is what the commands take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.cli.flags import parse
from wherry.cli.index import find

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`((?:sudo )?wherry [^`]+)`")


def typed(text: str) -> Iterator[list[str]]:
    """The words of each `wherry` command in the blocks of a document."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield from _of_line(line.removeprefix("$ "))


def named(text: str) -> Iterator[list[str]]:
    """The same of commands that stand in its sentences, where words are left out."""
    for inline in _INLINE.findall(re.sub(_BLOCK, "", text)):
        yield from _of_line(" ".join(inline.split()))


def _of_line(line: str) -> Iterator[list[str]]:
    if "─" in line:  # A drawing.
        return
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
    lexer.whitespace_split = True
    words: list[str] = []
    try:
        tokens = [*lexer, ";"]
    except ValueError:
        return  # It is the output of a command, with a quote in it.
    for token in tokens:
        if set(token) <= set("|;&"):
            if words[:1] == ["sudo"]:
                del words[0]
            if words and words[0].rpartition("/")[2] == "wherry":
                yield words[1:]
            words = []
        else:
            words.append(token)


def test_documents_are_read() -> None:
    block = "```\n$ a && wherry ps -a | wc; wherry rm \\\n   -f x  # why\nwherry: no\n```\n"
    assert [*typed(block)] == [["ps", "-a"], ["rm", "-f", "x"]]
    assert [*named(f"{block}`wherry pull\n x`")] == [["pull", "x"]]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_is_taken(document: Path) -> None:
    text = document.read_text()
    for words in typed(text):
        _, command, rest = find(words)
        assert command is not None, f"wherry {' '.join(words)}"
        command.parse(rest)
    for words in named(text):
        name, command, rest = find(words)
        assert command is not None or (name and not rest), f"wherry {' '.join(words)}"
        if command is not None:
            parse(command.flags, rest, interspersed=command.interspersed)
