"""Commands that show: ps, logs, inspect, events, images, system, help, completion."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests


@pytest.fixture(scope="module")
def ended(wherry: Wherry, toolbox: str) -> Iterator[str]:
    """A container named `ended` that wrote five lines and exited."""
    wherry.ok("run", "--name", "ended", toolbox, "flood", "5")
    yield "ended"
    wherry.ok("rm", "ended")


@pytest.fixture(scope="module")
def running(wherry: Wherry, toolbox: str) -> Iterator[str]:
    """A container named `running` that ticks."""
    wherry.ok("run", "-d", "--name", "running", toolbox, "tick")
    yield "running"
    wherry.ok("rm", "-f", "running")


def test_ps_has_dockers_columns(wherry: Wherry, running: str, ended: str) -> None:
    header, *rows = wherry.ok("ps").splitlines()
    assert re.split(r"\s{2,}", header.strip()) == [
        "CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES",
    ]  # fmt: skip
    assert len(rows) == 1
    assert "Up " in rows[0] and rows[0].endswith("running")
    assert "Exited (0)" in wherry.ok("ps", "-a", "--filter", "name=ended")


def test_ps_formats(wherry: Wherry, running: str, ended: str) -> None:
    names = wherry.ok("ps", "-a", "--format", "{{.Names}}\t{{.State}}").splitlines()
    assert set(names) == {"running\trunning", "ended\texited"}
    lines = [json.loads(line) for line in wherry.ok("ps", "-a", "--format", "json").splitlines()]
    assert {line["Names"] for line in lines} == {"running", "ended"}
    table = wherry.ok("ps", "--format", "table {{.Names}}").splitlines()
    assert table == ["NAMES", "running"]


@pytest.mark.parametrize(
    ("filter", "names"),
    [
        ("status=exited", {"ended"}), ("status=running", {"running"}), ("exited=0", {"ended"}),
        ("name=run", {"running"}), ("ancestor=toolbox", {"running", "ended"}),
    ],
)  # fmt: skip
def test_ps_filters(wherry: Wherry, running: str, ended: str, filter: str, names: set[str]) -> None:
    out = wherry.ok("ps", "-a", "--filter", filter, "--format", "{{.Names}}")
    assert set(out.split()) == names


def test_logs(wherry: Wherry, ended: str) -> None:
    lines = wherry.ok("logs", ended).splitlines()
    assert [line[:8] for line in lines] == [f"{n:08d}" for n in range(5)]
    assert wherry.ok("logs", "--tail", "2", ended).splitlines() == lines[-2:]
    assert wherry.ok("logs", "-n", "0", ended) == ""
    stamped = wherry.ok("logs", "-t", ended).splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z 0000", line) for line in stamped)
    assert wherry.ok("logs", "--until", "2001-01-01T00:00:00Z", ended) == ""
    assert wherry.ok("logs", "--since", "2001-01-01T00:00:00Z", ended).splitlines() == lines


def test_logs_follow_to_the_end(wherry: Wherry, toolbox: str) -> None:
    identity = wherry.ok("run", "-d", toolbox, "sleep", "1")
    assert wherry.ok("logs", "-f", identity) == "ready"
    wherry.ok("rm", "-f", identity)


def test_logs_keep_both_streams_apart(wherry: Wherry, toolbox: str) -> None:
    identity = wherry.ok("create", toolbox, "both")
    wherry.ok("start", identity)
    wherry.ok("wait", identity)
    done = wherry("logs", identity)
    assert (done.out, done.err) == ("to stdout\n", "to stderr\n")
    wherry.ok("rm", identity)


def test_attach_sees_what_comes(wherry: Wherry, running: str) -> None:
    with wherry.background("attach", "--no-stdin", running) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"tick ")


def test_inspect_is_a_json_array_of_everything_asked_for(
    wherry: Wherry, running: str, ended: str
) -> None:
    found = json.loads(wherry.ok("inspect", running, ended, "toolbox"))
    assert [one.get("Name") for one in found[:2]] == ["/running", "/ended"]
    assert found[2]["RepoTags"] == ["toolbox:latest"]
    assert found[0]["State"]["Running"] is True
    assert found[1]["State"]["ExitCode"] == 0
    assert found[1]["Args"] == ["flood", "5"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.State.Status}}", "exited"),
        ("{{json .State.Running}}", "false"),
        ("{{range .Args}}<{{.}}>{{end}}", "<flood><5>"),
        ("{{index .Args 1}}", "5"),
        ("{{join .Args \",\"}}", "flood,5"),
        ("{{if .State.Running}}yes{{else}}no{{end}}", "no"),
        ("{{upper .State.Status}}", "EXITED"),
        ("{{len .Args}}", "2"),
        ("{{printf \"%s!\" .State.Status}}", "exited!"),
        ("{{eq .State.ExitCode 0}}", "true"),
    ],
)  # fmt: skip
def test_inspect_formats(wherry: Wherry, ended: str, template: str, expected: str) -> None:
    assert wherry.ok("inspect", "-f", template, ended) == expected


def test_events_tell_a_life(wherry: Wherry, hello: str) -> None:
    wherry.ok("run", "--rm", "--name", "lived", hello)
    out = wherry.ok(
        "events", "--since", "5m", "--until", "0s", "--filter", "container=lived",
        "--format", "{{.Action}}",
    )  # fmt: skip
    actions = out.split()
    order = [actions.index(word) for word in ("create", "start", "die", "destroy")]
    assert order == sorted(order)


def test_top_and_stats_show_the_process(wherry: Wherry, running: str) -> None:
    assert str(wherry.pid(running)) in wherry.ok("top", running)
    line = json.loads(wherry.ok("stats", "--no-stream", "--format", "json", running))
    assert line["Name"] == "running"
    assert re.match(r"[\d.]+[kM]?i?B / ", line["MemUsage"])


def test_rename(wherry: Wherry, hello: str) -> None:
    wherry.ok("create", "--name", "old", hello)
    wherry.ok("rename", "old", "new")
    assert wherry.ok("inspect", "-f", "{{.Name}}", "new") == "/new"
    wherry.ok("rm", "new")


def test_restart_keeps_the_container(wherry: Wherry, toolbox: str) -> None:
    identity = wherry.ok("run", "-d", toolbox, "sleep", "600")
    first = wherry.pid(identity)
    wherry.ok("restart", identity)
    assert wherry.pid(identity) != first
    wherry.ok("rm", "-f", identity)


def test_images_and_history(wherry: Wherry, hello: str) -> None:
    header = wherry.ok("images").splitlines()[0]
    assert re.split(r"\s{2,}", header.strip()) == [
        "REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE",
    ]  # fmt: skip
    assert "COPY hello.wat /hello.wat" in wherry.ok("history", "--no-trunc", hello)


def test_system(wherry: Wherry, hello: str) -> None:
    kinds = [line.split("  ")[0] for line in wherry.ok("system", "df").splitlines()]
    assert kinds[:4] == ["TYPE", "Images", "Containers", "Local Volumes"]
    assert "Wherry" in wherry.ok("info") or "wherry" in wherry.ok("info")
    assert wherry.ok("version", "-f", "{{.Server.ApiVersion}}") >= "1.41"
    assert json.loads(wherry.ok("info", "--format", "json"))["Images"] >= 1


def test_prune_of_everything(fresh_wherry: Wherry, guests: Guests) -> None:
    fresh_wherry.image("exits", guests.wat("exit"))
    fresh_wherry.ok("run", "exits")
    assert len(fresh_wherry.ok("container", "prune", "-f").splitlines()) >= 2
    fresh_wherry.ok("volume", "create", "vol")
    fresh_wherry.ok("system", "prune", "-af", "--volumes")
    assert fresh_wherry.ok("images", "-q") == ""
    assert list((fresh_wherry.root / "images" / "blobs" / "sha256").iterdir()) == []


COMMANDS = [
    "build",
    "run",
    "create",
    "start",
    "stop",
    "kill",
    "restart",
    "rm",
    "ps",
    "logs",
    "wait",
    "inspect",
    "attach",
    "cp",
    "rename",
    "top",
    "history",
    "images",
    "rmi",
    "tag",
    "save",
    "load",
    "volume",
    "container",
    "image",
    "system",
    "info",
    "version",
    "events",
    "stats",
]


def test_help_names_every_command(wherry: Wherry) -> None:
    out = wherry.ok("--help")
    assert [name for name in COMMANDS if not re.search(rf"^ .*\b{name}\b", out, re.MULTILINE)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(wherry: Wherry, command: str) -> None:
    out = wherry.ok(command, "--help")
    assert "usage" in out.lower()
    assert f"wherry {command}" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("in",), "inspect"), (("run", "--entry"), "--entrypoint"), (("rm", ""), "running"),
        (("volume", ""), "prune"), (("run", ""), "toolbox"),
    ],
)  # fmt: skip
def test_completion_offers_commands_flags_and_names(
    wherry: Wherry, running: str, words: tuple[str, ...], expected: str
) -> None:
    offered = wherry.ok("__complete", "--", *words).splitlines()
    assert any(line.split("\t")[0].startswith(expected) for line in offered), offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_valid_for_its_shell(wherry: Wherry, shell: str) -> None:
    script = wherry.ok("completion", shell)
    assert "wherry __complete" in script
    if program := shutil.which(shell):
        checked = subprocess.run([program, "-n"], input=script, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
