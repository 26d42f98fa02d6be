"""Daemons and shims that are killed while containers run, under a Docker of the tests' own."""

import json
from collections.abc import Iterator

import pytest
from tests.docker.engine import WASM, Docker, until

pytestmark = pytest.mark.root


@pytest.fixture
def docker(own_docker: Docker) -> Iterator[Docker]:
    """A Docker that may be broken; no container is left in it."""
    yield own_docker
    if names := own_docker.ok("ps", "-aq").split():
        own_docker.remove(*names)


def state(docker: Docker, name: str) -> tuple[str, int]:
    """Its status and exit code."""
    found = json.loads(docker.inspect(name, ".State"))
    return found["Status"], found["ExitCode"]


def kill(docker: Docker, pid: str) -> None:
    """Kill a process of the machine."""
    assert docker.machine.run("sh", "-c", f"kill -9 {pid}").returncode == 0


def servers(docker: Docker) -> list[str]:
    """The pids of wherry's shims in the machine."""
    return docker.machine.run("sh", "-c", "cut -d' ' -f1 /run/wherry/shim/*,*,*").stdout.split()


def test_containers_live_while_dockerd_is_killed_and_started(docker: Docker) -> None:
    docker.start("lives", "sleep", "1000")
    docker.start("speaks", "tick")
    docker.start("ends", "sleep", "1000")
    lives, ends = docker.pid("lives"), docker.pid("ends")
    docker.dockerd.kill()
    kill(docker, ends)
    docker.dockerd.start()
    assert (state(docker, "lives"), docker.pid("lives")) == (("running", 0), lives)
    until(lambda: state(docker, "ends") == ("exited", 137))
    before = len(docker.ok("logs", "speaks"))
    until(lambda: len(docker.ok("logs", "speaks")) > before)
    assert docker.ok("exec", "lives", "toolbox.wasm", "cat", "notes.txt") == "some notes"
    docker.ok("stop", "--time", "1000", "lives")
    assert state(docker, "lives") == ("exited", 143)


def test_containers_live_while_containerd_is_killed_and_started(docker: Docker) -> None:
    docker.start("lives", "sleep", "1000")
    pid = docker.pid("lives")
    docker.dockerd.containerd.kill()
    docker.dockerd.containerd.start()
    until(lambda: docker("ps").returncode == 0 and docker.run().returncode == 0)
    assert (state(docker, "lives"), docker.pid("lives")) == (("running", 0), pid)
    docker.ok("stop", "--time", "1000", "lives")
    assert state(docker, "lives") == ("exited", 143)


def test_new_containers_find_their_files_after_a_restart_of_docker(docker: Docker) -> None:
    # Docker takes its mount away and makes it anew, and nothing tells the shim's zygote of it.
    docker.start("lives", "sleep", "1000")
    (server,) = servers(docker)
    docker.dockerd.stop()
    docker.dockerd.start()
    assert docker.run("cat", "notes.txt").stdout == "some notes\n"
    assert servers(docker) == [server]


def test_restart_policies_outlast_the_daemon(docker: Docker) -> None:
    docker.start("always", "sleep", "1000", flags=["--restart", "always"])
    docker.start("stopped", "sleep", "1000", flags=["--restart", "unless-stopped"])
    docker.ok("stop", "stopped")
    pid = docker.pid("always")
    docker.dockerd.kill()
    kill(docker, pid)
    docker.dockerd.start()
    until(lambda: state(docker, "always")[0] == "running" and docker.pid("always") != pid)
    assert state(docker, "stopped")[0] == "exited"


def test_a_killed_shim_takes_its_containers_along_and_leaves_nothing(docker: Docker) -> None:
    for name in ("one", "two"):
        docker.start(name, "sleep", "1000")
    pids = [docker.pid(name) for name in ("one", "two")]
    (server,) = servers(docker)
    kill(docker, server)
    for name in ("one", "two"):
        assert docker.ok("wait", name) == "137"
    docker.machine.run("sh", "-c", f"while kill -0 {' '.join(pids)}; do sleep 0.05; done")
    docker.remove("one", "two")
    left = docker.machine.run("sh", "-c", "grep /rootfs /proc/mounts; ls /run/wherry/shim")
    assert set(left.stdout.split()) <= {"lock"}
    assert docker.run().returncode == 0


def test_a_container_whose_shim_was_killed_is_started_again(docker: Docker) -> None:
    docker.start("again", "sleep", "1000", flags=["--restart", "always"])
    pid = docker.pid("again")
    (server,) = servers(docker)
    kill(docker, server)
    until(lambda: state(docker, "again")[0] == "running" and docker.pid("again") != pid)


def test_a_shim_s_link_under_another_name_runs_what_was_made_for_that(docker: Docker) -> None:
    link = "ln -sfn $(command -v containerd-shim-wherry-v1) /usr/local/bin"
    assert docker.machine.run("sh", "-c", f"{link}/containerd-shim-wasmedge-v1").returncode == 0
    other = ["--runtime=io.containerd.wasmedge.v1", WASM[1]]
    assert docker("run", "--rm", *other, "tool").stdout == "to stdout\n"
    docker.ok("run", "-d", "--name", "edge", *other, "tool", "sleep", "1000")
    assert docker.ok("exec", "edge", "toolbox.wasm", "cat", "notes.txt") == "some notes"
    docker.ok("stop", "--time", "1000", "edge")
    assert state(docker, "edge") == ("exited", 143)
