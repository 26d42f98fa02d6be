"""Health checks: asked for on the command line or by the image, made by exec, told all over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.engine_under_test import Wherry, until
from tests.guests.toolchain import Guests

TOOL = "/module.wasm"
ALIVE = '["/module.wasm", "stat", "/alive"]'
"""Healthy as long as there is a file /alive."""
OFTEN = ("--health-interval", "20ms")


@pytest.fixture
def started(wherry: Wherry) -> Iterator[list[str]]:
    """Containers to remove."""
    containers: list[str] = []
    yield containers
    wherry.ok("rm", "-f", *containers)


def run(wherry: Wherry, started: list[str], *words: str) -> str:
    identity = wherry.ok("run", "-d", *words)
    started.append(identity)
    return identity


def health(wherry: Wherry, container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(wherry.ok("inspect", "-f", "{{json .State}}", container))
    health: dict[str, Any] = found.get("Health", {})
    return health


def wait_for(wherry: Wherry, container: str, *statuses: str) -> None:
    """Until the events have told of these changes, since the container was made."""
    watch = ("--filter", f"container={container}", "--filter", "event=health_status")
    with wherry.background("events", "--since", "10m", *watch) as events:
        assert events.stdout is not None
        for status in statuses:
            line = events.stdout.readline().decode()
            assert f"health_status: {status}" in line


def test_it_becomes_healthy_and_unhealthy_as_the_check_says(
    wherry: Wherry, toolbox: str, started: list[str]
) -> None:
    identity = run(
        wherry, started, "--health-cmd", ALIVE, *OFTEN, "--health-retries", "2",
        toolbox, "sleep", "600",
    )  # fmt: skip
    wait_for(wherry, identity, "unhealthy")
    wherry.ok("exec", identity, TOOL, "put", "/alive", "")
    wait_for(wherry, identity, "unhealthy", "healthy")
    found = health(wherry, identity)
    assert (found["Status"], found["FailingStreak"]) == ("healthy", 0)
    assert len(found["Log"]) <= 5
    assert found["Log"][-1]["ExitCode"] == 0
    assert found["Log"][-1]["Output"] == "file 0\n"
    assert "(healthy)" in wherry.ok("ps", "--format", "{{.Status}}", "--filter", f"id={identity}")
    assert wherry.ok("ps", "-q", "--no-trunc", "--filter", "health=healthy") == identity
    assert wherry.ok("ps", "-q", "--filter", "health=unhealthy") == ""
    wherry.ok("exec", identity, TOOL, "remove", "/alive")
    wait_for(wherry, identity, "unhealthy", "healthy", "unhealthy")
    found = health(wherry, identity)
    assert found["Status"] == "unhealthy"
    assert found["FailingStreak"] >= 2
    assert "/alive" in found["Log"][-1]["Output"]
    wherry.ok("stop", identity)
    assert health(wherry, identity)["Status"] == "unhealthy"


def test_the_images_check_is_made_unless_it_is_not_wanted(
    wherry: Wherry, guests: Guests, started: list[str]
) -> None:
    folder = wherry.folder / "checked"
    folder.mkdir()
    (folder / "tool.wasm").write_bytes(guests.toolbox().read_bytes())
    (folder / "Dockerfile").write_text(
        'FROM scratch\nCOPY tool.wasm /\nENTRYPOINT ["/tool.wasm"]\n'
        'HEALTHCHECK --interval=20ms --start-interval=20ms --retries=9 CMD ["/tool.wasm", "pwd"]\n'
    )
    wherry.ok("build", "-q", "-t", "checked", folder)
    identity = run(wherry, started, "checked", "sleep", "600")
    wait_for(wherry, identity, "healthy")
    assert health(wherry, identity)["Log"][0]["Output"] == "/\n"
    check = json.loads(wherry.ok("inspect", "-f", "{{json .Config.Healthcheck}}", identity))
    assert (check["Retries"], check["StartInterval"]) == (9, 20_000_000)
    changed = run(wherry, started, "--health-retries", "2", "checked", "sleep", "600")
    check = json.loads(wherry.ok("inspect", "-f", "{{json .Config.Healthcheck}}", changed))
    assert (check["Retries"], check["Interval"], check["Test"][1]) == (2, 20_000_000, "/tool.wasm")
    without = run(wherry, started, "--no-healthcheck", "checked", "sleep", "600")
    assert health(wherry, without) == {}
    assert wherry.ok("ps", "-q", "--no-trunc", "--filter", "health=none") == without


def test_a_shell_that_is_not_there_is_told(
    wherry: Wherry, toolbox: str, started: list[str]
) -> None:
    identity = run(
        wherry, started, "--health-cmd", "test -e /alive", *OFTEN, "--health-retries", "1",
        toolbox, "sleep", "600",
    )  # fmt: skip
    wait_for(wherry, identity, "unhealthy")
    (first, *_) = health(wherry, identity)["Log"]
    assert first["ExitCode"] == -1
    assert "/bin/sh" in first["Output"]
    assert 'HEALTHCHECK CMD ["/check.wasm"]' in first["Output"]


def test_a_check_that_takes_too_long_is_ended(
    wherry: Wherry, toolbox: str, started: list[str]
) -> None:
    identity = run(
        wherry, started, "--health-cmd", '["/module.wasm", "sleep", "601"]', *OFTEN,
        "--health-retries", "1", "--health-timeout", "300ms", toolbox, "sleep", "600",
    )  # fmt: skip
    wait_for(wherry, identity, "unhealthy")
    (first, *_) = health(wherry, identity)["Log"]
    assert first["ExitCode"] == -1
    assert first["Output"] == "Health check exceeded timeout (0.3s): ready\n"
    wherry.ok("pause", identity)
    assert wherry.ok("top", identity).count("601") <= 1, "checks pile up"
    wherry.ok("unpause", identity)


def test_a_check_that_says_much_is_cut(wherry: Wherry, toolbox: str, started: list[str]) -> None:
    identity = run(
        wherry, started, "--health-cmd", '["/module.wasm", "flood", "20000"]', *OFTEN,
        toolbox, "sleep", "600",
    )  # fmt: skip
    wait_for(wherry, identity, "healthy")
    output = health(wherry, identity)["Log"][0]["Output"]
    assert len(output.encode()) == 4096
    assert output.endswith("...")


def test_failures_while_it_starts_do_not_count(
    wherry: Wherry, toolbox: str, started: list[str]
) -> None:
    identity = run(
        wherry, started, "--health-cmd", ALIVE, "--health-interval", "1h", "--health-retries", "1",
        "--health-start-period", "1h", "--health-start-interval", "20ms", toolbox, "sleep", "600",
    )  # fmt: skip
    while len(health(wherry, identity)["Log"]) < 3:
        pass
    found = health(wherry, identity)
    assert (found["Status"], found["FailingStreak"]) == ("starting", 0)
    assert "(health: starting)" in wherry.ok(
        "ps", "--format", "{{.Status}}", "--filter", f"id={identity}"
    )
    wherry.ok("exec", identity, TOOL, "put", "/alive", "")
    wait_for(wherry, identity, "healthy")


def test_checks_begin_again_where_an_engine_was_killed(
    fresh_wherry: Wherry, guests: Guests
) -> None:
    wherry = fresh_wherry
    image = wherry.image("toolbox", guests.toolbox())
    identity = wherry.ok(
        "run", "-d", "--health-cmd", ALIVE, *OFTEN, "--health-retries", "1", image, "sleep", "600"
    )
    wait_for(wherry, identity, "unhealthy")
    wherry.kill_daemon()
    # The new engine checks as soon as it is there, so that it may be told as unhealthy once more.
    wherry.ok("exec", identity, TOOL, "put", "/alive", "")
    health = ("inspect", "-f", "{{.State.Health.Status}}", identity)
    until(lambda: wherry.ok(*health) == "healthy", "it does not become healthy")
    folder = wherry.root / "containers" / identity / "execs"
    wherry.ok("stop", identity)
    # The check that ran goes with the container, but nobody waits for its files to be gone.
    until(lambda: not folder.exists() or not list(folder.iterdir()), "something is left of checks")


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--health-interval", "soon"), "duration"),
        (("--health-retries", "-1"), "negative"),
        (("--health-interval", "1ns"), "1ms"),
        (("--health-cmd", '["/a", 1]'), "list of words"),
        (("--health-cmd", '["/a"'), "list of words"),
        (("--no-healthcheck", "--health-cmd", "x"), "conflicts"),
    ],
)
def test_what_makes_no_sense_is_refused(
    wherry: Wherry, toolbox: str, flags: tuple[str, ...], word: str
) -> None:
    assert word in wherry.refused("run", *flags, toolbox, "both", code=125)
