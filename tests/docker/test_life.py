"""A container's life under Docker: logs, signals, restarts, limits changed, what is seen of it."""

import json
import subprocess
import time
from collections.abc import Iterator

import pytest
from tests.docker.engine import WASM, Docker, until

pytestmark = pytest.mark.root


@pytest.fixture
def sleeper(docker: Docker) -> Iterator[str]:
    """A container that sleeps."""
    docker.start("sleeper", "sleep", "1000")
    yield "sleeper"
    docker.remove("sleeper")


def state(docker: Docker, name: str) -> tuple[str, int]:
    """Its status and exit code."""
    found = json.loads(docker.inspect(name, ".State"))
    return found["Status"], found["ExitCode"]


def test_stop_is_prompt_and_records_the_signal(docker: Docker, sleeper: str) -> None:
    # Docker waits ten seconds before it kills: this stop would be over its time.
    assert docker("stop", "--time", "1000", sleeper, timeout=30).returncode == 0
    assert state(docker, sleeper) == ("exited", 143)


@pytest.mark.parametrize(("signal", "status"), [("INT", 130), ("KILL", 137), ("HUP", 129)])
def test_kill_ends_it_by_the_signal(docker: Docker, sleeper: str, signal: str, status: int) -> None:
    docker.ok("kill", "-s", signal, sleeper)
    assert docker.ok("wait", sleeper) == str(status)


def test_a_signal_that_ends_nothing_does_not(docker: Docker, sleeper: str) -> None:
    docker.ok("kill", "-s", "WINCH", sleeper)
    assert state(docker, sleeper) == ("running", 0)


def test_stop_with_the_image_s_signal(docker: Docker) -> None:
    docker.start("quitter", "sleep", "1000", flags=["--stop-signal", "SIGQUIT"])
    docker.ok("stop", "quitter")
    assert state(docker, "quitter") == ("exited", 131)
    docker.remove("quitter")


def test_pause_and_unpause(docker: Docker, sleeper: str) -> None:
    docker.ok("pause", sleeper)
    assert state(docker, sleeper)[0] == "paused"
    docker.ok("unpause", sleeper)
    assert state(docker, sleeper)[0] == "running"


def test_restart_makes_a_new_process(docker: Docker, sleeper: str) -> None:
    first = docker.pid(sleeper)
    docker.ok("restart", sleeper)
    assert docker.pid(sleeper) != first


def test_top_stats_and_update(docker: Docker, sleeper: str) -> None:
    docker.ok("rename", sleeper, "renamed")
    try:
        assert "/bin/toolbox.wasm sleep 1000" in docker.ok("top", "renamed")
        docker.ok("update", "--memory", "64m", "--memory-swap", "64m", "renamed")
        line = docker.ok("stats", "--no-stream", "--format", "{{json .}}", "renamed")
        figures = json.loads(line)
        assert figures["MemUsage"].endswith("/ 64MiB")
        assert not figures["MemUsage"].startswith("0B")
        assert int(figures["PIDs"]) >= 1
    finally:
        docker.ok("rename", "renamed", sleeper)


def test_logs_follow_what_a_container_says(docker: Docker) -> None:
    docker.start("ticker", "tick")
    argv = docker.dockerd.argv("logs", "-f", "ticker")
    environment = docker.machine.environment()
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as follower:
        assert follower.stdout is not None
        lines = [next(follower.stdout) for _ in range(2)]
        docker.remove("ticker")
        assert follower.wait(60) == 0
    # Every other line goes to stderr.
    assert lines == ["tick 0\n", "tick 2\n"]


def test_attach_to_a_container_s_input_and_output(docker: Docker) -> None:
    docker.ok("run", "-d", "-i", "--name", "echoing", *WASM, "tool", "cat")
    argv = docker.dockerd.argv("attach", "echoing")
    environment = docker.machine.environment()
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as client:
        assert client.stdin is not None and client.stdout is not None
        client.stdin.write("there and back\n")
        client.stdin.flush()
        assert client.stdout.readline() == "there and back\n"
        docker.remove("echoing")
        client.wait(60)


def test_a_failing_container_is_restarted_as_often_as_asked(docker: Docker) -> None:
    flags = ["--restart", "on-failure:2", "--entrypoint", "/bin/exit.wasm"]
    docker.start("failing", "3", flags=flags)
    until(lambda: docker.inspect("failing", ".RestartCount") == "2")
    until(lambda: state(docker, "failing") == ("exited", 3))
    docker.remove("failing")


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_a_container_that_ends_is_started_again_until_it_is_stopped(
    docker: Docker, policy: str
) -> None:
    docker.start("again", flags=["--restart", policy])
    until(lambda: int(docker.inspect("again", ".RestartCount")) >= 2)
    docker.ok("stop", "again")
    assert state(docker, "again")[0] == "exited"
    docker.remove("again")


def test_events_of_a_run_come_in_order(docker: Docker) -> None:
    since = int(time.time())
    docker.ok("run", "--name", "eventful", *WASM, "tool")
    docker.remove("eventful")
    filters = ["--filter", "type=container", "--filter", "container=eventful"]
    argv = docker.dockerd.argv("events", "--since", str(since), *filters, "--format", "{{.Action}}")
    environment = docker.machine.environment()
    seen = []
    with subprocess.Popen(
        [*argv, "--until", str(since + 60)], stdout=subprocess.PIPE, text=True, env=environment
    ) as events:
        assert events.stdout is not None
        for line in events.stdout:
            seen.append(line.strip())
            if seen[-1] == "destroy":
                break
        events.terminate()
    assert seen == ["create", "attach", "start", "die", "destroy"]


def test_a_running_container_is_removed_by_force(docker: Docker) -> None:
    docker.start("removed", "sleep", "1000")
    docker.ok("rm", "-f", "removed")
    assert docker("inspect", "removed").returncode != 0
