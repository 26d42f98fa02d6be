"""The docker command itself as a client of wherryd: what people and their scripts type."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator

import pytest
from tests.api.docker_command import Docker, docker_and_wherryd

pytestmark = pytest.mark.root


def _read_until(terminal: int, wanted: bytes) -> bytes:
    """What the terminal shows until `wanted` is in it."""
    shown = b""
    while wanted not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 4096)
    return shown


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    """With an image `guests`."""
    dockerfile = 'FROM scratch\nCOPY *.wat /\nENV A=1\nLABEL made=here\nCMD ["/echo.wat"]\n'
    with docker_and_wherryd("echo", "environ", "exit", "loop", dockerfile=dockerfile) as docker:
        built = docker("build", "-t", "guests", "context")
        assert "Step 5/5 : CMD" in built
        assert "Successfully tagged guests:latest" in built
        yield docker


def test_version_and_info_are_shown(docker: Docker) -> None:
    assert docker("version", "--format", "{{.Server.Version}} {{.Server.APIVersion}}").split()
    assert docker("info", "--format", "{{.DefaultRuntime}}").strip() == "io.containerd.wherry.v1"


def test_run_passes_input_output_and_exit_code(docker: Docker) -> None:
    assert docker("run", "-i", "--rm", "guests", input="told\n" * 10_000) == "told\n" * 10_000
    docker("run", "--rm", "guests", "/exit.wat", "7", code=7)
    told = docker("run", "--rm", "-e", "B=2", "guests", "/environ.wat", "word")
    assert {"word", "A=1", "B=2"} <= set(told.splitlines())


def test_what_cannot_run_has_dockers_exit_codes(docker: Docker) -> None:
    docker("run", "--rm", "guests", "/nothing", code=127)
    docker("run", "--rm", "--mount", "type=nonsense,target=/x", "guests", code=125)
    # A port of this machine at which nobody listens.
    assert "connection refused" in docker("run", "--rm", "127.0.0.1:1/nothing", code=125)


def test_a_container_lives_and_ends_as_dockers_do(docker: Docker) -> None:
    id = docker("run", "-d", "--name", "life", "guests", "/loop.wat").strip()
    assert docker("ps", "--no-trunc", "-q").strip() == id
    assert docker("inspect", "-f", "{{.State.Status}} {{.Config.Image}}", "life").split() == [
        "running",
        "guests",
    ]
    assert "/loop.wat" in docker("top", "life")
    assert "life" in docker("stats", "--no-stream", "life")
    docker("pause", "life")
    assert "Paused" in docker("ps", "--format", "{{.Status}}")
    docker("unpause", "life")
    docker("rename", "life", "death")
    docker("stop", "death")
    assert docker("wait", "death").strip() == "143"
    docker("start", "death")
    docker("restart", "-t", "0", "death")
    assert "cannot remove" in docker("rm", "death", code=1)
    docker("rm", "-f", "death")
    assert docker("ps", "-aq") == ""


def test_exec_runs_beside_the_container(docker: Docker) -> None:
    docker("run", "-d", "-e", "A=2", "--name", "exec", "guests", "/loop.wat")
    told = docker("exec", "-e", "B=3", "-w", "/etc", "exec", "/environ.wat", "word").splitlines()
    assert {"word", "A=2", "B=3"} <= set(told)
    assert docker("exec", "-i", "exec", "/echo.wat", input="told\n" * 10_000) == "told\n" * 10_000
    docker("exec", "exec", "/exit.wat", "7", code=7)
    assert "no such file" in docker("exec", "exec", "/nothing", code=127)
    assert "/etc/hosts" in docker("exec", "exec", "/etc/hosts", code=126)
    docker("exec", "-d", "exec", "/loop.wat", "in", "the", "background")
    assert "/loop.wat in the background" in docker("top", "exec")
    docker("pause", "exec")
    assert "is paused" in docker("exec", "exec", "/exit.wat", code=1)
    docker("unpause", "exec")
    docker("stop", "exec")
    assert "is not running" in docker("exec", "exec", "/exit.wat", code=1)
    docker("rm", "exec")


def test_exec_at_a_terminal_can_be_left(docker: Docker) -> None:
    docker("run", "-d", "--name", "keys", "guests", "/loop.wat")
    pid, terminal = docker.typing("exec", "-it", "keys", "/echo.wat")
    os.write(terminal, b"first\n")
    _read_until(terminal, b"first\r\nfirst\r\n")
    os.write(terminal, b"\x04")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    pid, terminal = docker.typing("exec", "-it", "keys", "/echo.wat", "left")
    os.write(terminal, b"second\n")
    _read_until(terminal, b"second\r\nsecond\r\n")
    os.write(terminal, b"\x10\x11")
    _read_until(terminal, b"read escape sequence")
    # That is how docker ends there.
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    os.close(terminal)
    assert "/echo.wat left" in docker("top", "keys")
    docker("rm", "-f", "keys")


def test_health_is_shown_where_docker_shows_it(docker: Docker) -> None:
    (docker.folder / "Checked").write_text(
        'FROM guests\nHEALTHCHECK --interval=20ms --retries=1 CMD ["/exit.wat", "0"]\n'
        'CMD ["/loop.wat"]\n'
    )
    docker("build", "-q", "-t", "checked", "-f", "Checked", ".")
    docker("run", "-d", "--name", "well", "checked")
    docker("run", "-d", "--name", "ill", "--health-cmd", "true", "checked")
    told = {"well": "healthy", "ill": "unhealthy"}
    for name, status in told.items():
        with subprocess.Popen(
            [*docker.command, "events", "--since", "1h", "-f", f"container={name}",
             "-f", "event=health_status"],
            stdout=subprocess.PIPE, env=docker.environment, text=True,
        ) as events:  # fmt: skip
            assert events.stdout is not None
            assert f"health_status: {status}" in events.stdout.readline()
            events.kill()
        assert docker("inspect", "-f", "{{.State.Health.Status}}", name).strip() == status
        shown = docker("ps", "-f", f"health={status}", "--format", "{{.Names}} {{.Status}}")
        assert shown.startswith(name) and f"({status})" in shown
        docker("rm", "-f", name)


def test_logs_are_told_whole_last_and_with_times(docker: Docker) -> None:
    docker("run", "--name", "log", "-i", "guests", input="one\ntwo\nthree\n")
    assert docker("logs", "log") == "one\ntwo\nthree\n"
    assert docker("logs", "--tail", "1", "log") == "three\n"
    assert docker("logs", "-f", "log") == "one\ntwo\nthree\n"
    stamp, text = docker("logs", "-t", "--tail", "1", "log").split()
    assert (len(stamp), text) == (len("2006-01-02T15:04:05.000000000Z"), "three")
    docker("rm", "log")


def test_a_terminal_can_be_left_and_attached_again(docker: Docker) -> None:
    pid, terminal = docker.typing("run", "-it", "--name", "tty", "guests")
    os.write(terminal, b"first\n")
    _read_until(terminal, b"first\r\nfirst\r\n")
    os.write(terminal, b"\x10\x11")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert docker("inspect", "-f", "{{.State.Running}}", "tty").strip() == "true"
    pid, terminal = docker.typing("attach", "tty")
    os.write(terminal, b"second\n")
    _read_until(terminal, b"second\r\nsecond\r\n")
    os.write(terminal, b"\x04")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    docker("rm", "tty")


def test_files_are_copied_in_and_out(docker: Docker) -> None:
    docker("create", "--name", "files", "guests")
    (docker.folder / "in").write_text("content\n")
    docker("cp", "in", "files:/there")
    docker("cp", "files:/there", "out")
    assert (docker.folder / "out").read_text() == "content\n"
    assert "A /there" in docker("diff", "files").splitlines()
    docker("cp", "files:/nothing", "out", code=1)
    docker("rm", "files")


def test_images_travel_and_change_their_names(docker: Docker) -> None:
    docker("tag", "guests", "reg.example:5000/a/b:1")
    assert "reg.example:5000/a/b" in docker("images", "--format", "{{.Repository}}").split()
    docker("save", "-o", "saved.tar", "reg.example:5000/a/b:1")
    assert "Untagged: reg.example:5000/a/b:1" in docker("rmi", "reg.example:5000/a/b:1")
    assert "Loaded image: reg.example:5000/a/b:1" in docker("load", "-i", "saved.tar")
    docker("rmi", "reg.example:5000/a/b:1")
    history = docker("history", "--format", "{{.CreatedBy}}", "guests")
    assert "COPY *.wat /" in history
    assert docker("image", "inspect", "-f", "{{.Config.Labels.made}}", "guests").strip() == "here"


def test_volumes_hold_what_containers_share(docker: Docker) -> None:
    docker("volume", "create", "--label", "a=b", "shared")
    assert docker("volume", "ls", "-q", "-f", "label=a=b").split() == ["shared"]
    docker("run", "--rm", "-v", "shared:/v", "guests", "/exit.wat", "0")
    assert docker("volume", "inspect", "-f", "{{.Name}}", "shared").strip() == "shared"
    docker("volume", "rm", "shared")
    docker("volume", "inspect", "shared", code=1)


def test_events_tell_what_happened(docker: Docker) -> None:
    docker("run", "--rm", "--name", "told", "guests", "/exit.wat", "3", code=3)
    told = docker(
        "events", "--since", "1h", "--until", str(int(time.time()) + 1), "-f", "container=told",
        "--format", "{{.Action}} {{.Actor.Attributes.exitCode}}",
    )  # fmt: skip
    actions = [line.split()[0] for line in told.splitlines()]
    assert actions == ["create", "attach", "start", "die", "destroy"]
    assert "die 3" in told


def test_disk_usage_and_prunes_are_counted(docker: Docker) -> None:
    docker("run", "guests", "/exit.wat", "0")
    assert "Build Cache" in docker("system", "df")
    assert "Total reclaimed space" in docker("container", "prune", "-f")
    assert docker("ps", "-aq") == ""
    for kind in ("image", "volume"):
        docker(kind, "prune", "-f")
    assert docker("images", "-q", "guests")


def test_a_mistake_in_a_dockerfile_is_named(docker: Docker) -> None:
    folder = docker.folder / "mistake"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nCOPPY a b\n")
    assert "Dockerfile:2" in docker("build", "mistake", code=1)


def test_quiet_builds_print_the_id(docker: Docker) -> None:
    id = docker("build", "-q", "context").strip()
    assert id == docker("image", "inspect", "-f", "{{.Id}}", "guests").strip()


def test_networks_are_made_shown_and_removed(docker: Docker) -> None:
    subnet = ["--subnet", "10.123.0.0/16", "--gateway", "10.123.0.9", "--ip-range", "10.123.7.0/24"]
    options = ["--internal", "--attachable", "-o", "com.docker.network.driver.mtu=1400"]
    id = docker("network", "create", *subnet, *options, "--label", "tier=test", "mine").strip()
    names = docker("network", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines()
    assert sorted(names) == ["bridge bridge", "host host", "mine bridge", "none null"]
    assert docker("network", "ls", "-q", "--no-trunc", "-f", "label=tier=test").strip() == id
    shown = "{{json .IPAM.Config}} {{.Internal}} {{.Attachable}} {{.Options}}"
    assert docker("network", "inspect", "-f", shown, id[:12]).strip() == (
        '[{"Subnet":"10.123.0.0/16","IPRange":"10.123.7.0/24","Gateway":"10.123.0.9"}] true true '
        "map[com.docker.network.driver.mtu:1400]"
    )
    assert "network with name mine already exists" in docker("network", "create", "mine", code=1)
    assert "Pool overlaps" in docker("network", "create", *subnet, "other", code=1)
    assert "pre-defined" in docker("network", "rm", "bridge", code=1)
    assert docker("network", "rm", "mine").strip() == "mine"
    assert "network mine not found" in docker("network", "inspect", "mine", code=1)
    docker("network", "create", "idle")
    assert docker("network", "prune", "-f").split()[-1] == "idle"


def test_a_container_shows_the_networks_it_is_to_be_in(docker: Docker) -> None:
    docker("network", "create", "--subnet", "10.124.0.0/16", "fleet")
    flags = ["--network", "fleet", "--ip", "10.124.0.7", "--network-alias", "boat"]
    docker("create", "--name", "docked", *flags, "-p", "127.0.0.1:8080:80", "guests")
    docker("network", "connect", "bridge", "docked")
    shown = "{{range $name, $it := .NetworkSettings.Networks}}{{$name}} {{$it.Aliases}};{{end}}"
    assert docker("inspect", "-f", shown, "docked").strip() == "bridge [];fleet [boat];"
    again = docker("network", "connect", "fleet", "docked", code=1)
    assert "endpoint with name docked already exists in network fleet" in again
    docker("network", "disconnect", "fleet", "docked")
    assert docker("inspect", "-f", shown, "docked").strip() == "bridge [];"
    assert "network away not found" in docker("run", "--network", "away", "guests", code=125)
    wrong = ["--network", "fleet", "--ip", "10.125.0.1"]
    assert "no configured subnet" in docker("create", *wrong, "guests", code=1)
    docker("rm", "docked")
    docker("network", "rm", "fleet")
