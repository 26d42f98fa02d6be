"""`docker run --runtime wherry`: how a Docker before 23 runs Wasm, and a later one may."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import peers
from tests.guests.toolchain import Guests
from tests.runtime.command.conftest import PROGRAM

pytestmark = [pytest.mark.root, pytest.mark.dockerd]

WASM = ("--runtime", "wherry", "--network", "none")


def image(guests: Guests) -> bytes:
    """A root filesystem of guests, as a tar."""
    programs = {"toolbox": guests.toolbox(), "wait": guests.wasm("wait")}
    programs |= {"exit": guests.wasm("exit"), "environ": guests.wasm("environ")}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        root = tarfile.TarInfo(".")
        root.type, root.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(root)
        for name, path in programs.items():
            tar.add(path, f"{name}.wasm")
    return content.getvalue()


@pytest.fixture(scope="module")
def docker(guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Dockerd]:
    """A Docker that knows wherry-runtime, and runs Linux containers by it too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHERRY_ROOT", str(tmp_path_factory.mktemp("wherry")))
        with peers.dockerd(
            arguments=["--add-runtime", f"wherry={PROGRAM}"], path=peers.path_with_shim()
        ) as daemon:
            for name, content in (("tool", image(guests)), ("busybox", peers.busybox_rootfs())):
                subprocess.run(daemon.argv("import", "-", name), input=content, check=True)
            yield daemon


def ok(docker: peers.Dockerd, *arguments: str, **options: object) -> str:
    result = docker.docker(*arguments, **options)
    assert result.returncode == 0, result.stderr
    return str(result.stdout)


def run(docker: peers.Dockerd, *arguments: str, **options: object) -> tuple[int, str, str]:
    result = docker.docker("run", "--rm", *WASM, *arguments, **options)
    return result.returncode, result.stdout, result.stderr


def test_streams_and_exit_codes_arrive(docker: peers.Dockerd) -> None:
    assert run(docker, "tool", "/toolbox.wasm", "both") == (0, "to stdout\n", "to stderr\n")
    assert run(docker, "-i", "tool", "/toolbox.wasm", "cat", input="typed\n")[:2] == (0, "typed\n")
    for code in (0, 1, 125, 126, 127, 128, 137, 255):
        assert run(docker, "tool", "/exit.wasm", str(code)) == (code, "", "")


def test_a_missing_program_is_127(docker: peers.Dockerd) -> None:
    status, _, error = run(docker, "tool", "/nothing.wasm")
    assert status == 127
    assert "/nothing.wasm" in error


def test_flags_reach_the_guest(docker: peers.Dockerd, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    volume = f"{tmp_path}:/data"
    assert "A=b" in run(docker, "-e", "A=b", "tool", "/environ.wasm")[1]
    assert run(docker, "-w", "/data", "-v", volume, "tool", "/toolbox.wasm", "cat", "file")[1] == (
        "of the host\n"
    )
    assert run(docker, "-v", f"{volume}:ro", "tool", "/toolbox.wasm", "put", "/data/x", "")[0]
    assert run(docker, "--read-only", "tool", "/toolbox.wasm", "put", "/x", "")[0] != 0
    assert run(docker, "--user", "1000:1000", "tool", "/toolbox.wasm", "put", "/x", "")[0] != 0
    bounds = ("--memory", "64m", "--cpus", "0.5", "--pids-limit", "20", "--init")
    assert run(docker, *bounds, "tool", "/toolbox.wasm", "pwd")[:2] == (0, "/\n")


def test_a_terminal_is_one(docker: peers.Dockerd) -> None:
    assert run(docker, "-t", "tool", "/toolbox.wasm", "isatty")[:2] == (0, "1 1 1\n")


def test_a_life_from_start_to_removal(docker: peers.Dockerd) -> None:
    ok(docker, "run", "-d", "--name", "life", *WASM, "tool", "/wait.wasm")
    assert ok(docker, "logs", "life") == "ready\n"
    assert "/wait.wasm" in ok(docker, "top", "life").splitlines()[1]
    stats = ("stats", "--no-stream", "--format", "{{.PIDs}}")
    assert int(ok(docker, *stats, "life")) > 0
    assert ok(docker, "exec", "life", "/toolbox.wasm", "pwd") == "/\n"
    assert docker.docker("exec", "life", "/exit.wasm", "7").returncode == 7
    assert "/nothing.wasm" in docker.docker("exec", "life", "/nothing.wasm").stdout
    assert ok(docker, "exec", "-t", "life", "/toolbox.wasm", "isatty") == "1 1 1\n"
    ok(docker, "pause", "life")
    assert "(Paused)" in ok(docker, "ps", "--format", "{{.Status}}")
    ok(docker, "unpause", "life")
    ok(docker, "update", "--memory", "96m", "--memory-swap", "192m", "life")
    ok(docker, "restart", "life")
    assert ok(docker, "logs", "life") == "ready\nready\n"
    ok(docker, "stop", "--time", "60", "life")
    assert ok(docker, "inspect", "-f", "{{.State.ExitCode}}", "life") == "143\n"
    ok(docker, "start", "life")
    ok(docker, "kill", "life")
    assert ok(docker, "wait", "life") == "137\n"
    ok(docker, "rm", "life")


def test_linux_containers_run_under_the_same_runtime(docker: peers.Dockerd) -> None:
    assert run(docker, "busybox", "/bin/busybox", "echo", "linux")[:2] == (0, "linux\n")
    ok(docker, "run", "-d", "--name", "linux", *WASM, "busybox", "/bin/busybox", "sleep", "60")
    assert ok(docker, "exec", "linux", "/bin/busybox", "echo", "inside") == "inside\n"
    ok(docker, "rm", "-f", "linux")
