"""What `--help` says, about every command."""

from __future__ import annotations

import pytest

from wherry.cli.help import describe, group_help, overview
from wherry.cli.index import COMMANDS, FAMILIES, GROUPS, find, load
from wherry.cli.main import run

PUBLIC = sorted(name for name in COMMANDS if not name.startswith("__"))


def test_the_overview_names_each_command_once() -> None:
    named = [name for _, names in GROUPS for name in names]
    assert len(named) == len(set(named))
    assert set(named) == {name for name in PUBLIC if " " not in name} | set(FAMILIES)


def test_the_overview_fits_a_terminal() -> None:
    lines = overview().splitlines()
    assert [line for line in lines if len(line) > 90] == []
    assert len(lines) < 66
    for name, summary in ((name, load(name).summary) for name in PUBLIC if " " not in name):
        assert f"{name}{summary}" not in overview()
    examples = [line for line in lines if line.startswith("  wherry ")]
    assert len({line.index(" # ") for line in examples}) == 1


@pytest.mark.parametrize("name", PUBLIC)
def test_every_command_explains_itself(name: str) -> None:
    command = load(name)
    text = describe(name, command)
    assert text.startswith(f"Usage:  wherry {name}")
    assert command.summary in text
    for flag in command.flags:
        assert f"--{flag.name}" in text
        assert flag.help
    assert all(example.startswith(("wherry ", "echo ", "tar ", "docker ", "source ", "eval "))
               for example in command.examples)  # fmt: skip
    assert [line for line in text.splitlines() if len(line) > 100 and "Aliases" not in line] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_no_flag_is_there_twice(name: str) -> None:
    flags = load(name).flags
    names = [flag.name for flag in flags]
    letters = [flag.short for flag in flags if flag.short]
    assert len(names) == len(set(names))
    assert len(letters) == len(set(letters))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_family_lists_its_commands_by_their_usual_name(
    family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([family, "--help"]) == 0
    out = capsys.readouterr().out
    assert out == group_help(family)
    assert (run([family]), capsys.readouterr().out) == (0, out)
    if family not in ("manifest", "system", "install", "uninstall"):
        assert "\n  ls " in out and "\n  rm " in out
        assert "\n  list " not in out and "\n  remove " not in out


def test_help_is_given_however_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["run", "--help"], ["run", "-i", "--help", "x"], ["help", "run"]):
        assert run(words) == 0
        assert capsys.readouterr().out.startswith("Usage:  wherry run [OPTIONS] IMAGE")
    for words in (["ps", "-h"], ["container", "ls", "x", "--help"]):
        assert run(words) == 0
        assert "List containers" in capsys.readouterr().out
    for words in ([], ["--help"], ["-h"], ["help"]):
        assert run(words) == 0
        assert capsys.readouterr().out == overview()


def test_the_containers_own_help_is_left_to_it() -> None:
    name, command, rest = find(["run", "image", "--help"])
    assert command is not None and name == "run"
    assert command.parse(rest).words == ["image", "--help"]


def test_examples_can_be_parsed() -> None:
    import shlex

    for name in PUBLIC:
        for example in load(name).examples:
            for part in example.partition("#")[0].split("|"):
                words = shlex.split(part.replace("$(", "").replace("<(", ""))
                if words[:1] == ["wherry"]:
                    _, command, rest = find(words[1:])
                    assert command is not None, example
                    command.parse(rest)
