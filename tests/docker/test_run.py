"""`docker run` of a Wasm image: no flags beyond runtime and platform."""

import json
import os
import subprocess

import pytest
from tests.docker.engine import WASM, Docker
from tests.terminals import all_shown

pytestmark = pytest.mark.root


def test_output_and_exit_code_are_the_guest_s(docker: Docker) -> None:
    done = docker.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "to stdout\n", "to stderr\n")
    assert docker.run("42", flags=["--entrypoint", "/bin/exit.wasm"]).returncode == 42


def test_standard_input_reaches_the_guest(docker: Docker) -> None:
    lines = "a line\n" * 20_000
    assert docker.run("cat", flags=["-i"], stdin=lines).stdout == lines


def test_a_terminal(docker: Docker) -> None:
    assert docker.run("isatty", flags=["-t"]).stdout == "1 1 1\n"
    master, slave = os.openpty()
    argv = docker.dockerd.argv("run", "--rm", "-it", *WASM, "tool", "isatty")
    environment = docker.machine.environment()
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    assert b"1 1 1\r\n" in all_shown(master)
    assert process.wait(60) == 0
    os.close(master)


def test_environment_hostname_and_arguments(docker: Docker) -> None:
    file = docker.folder() / "variables"
    file.write_text("FROM_FILE=1\n")
    flags = ["-e", "GIVEN=2", "--env-file", str(file), "--hostname", "port"]
    done = docker.run("x", "y z", flags=[*flags, "--entrypoint", "bin/environ.wasm"])
    lines = done.stdout.splitlines()
    assert lines[:3] == ["bin/environ.wasm", "x", "y z"]
    assert {"FROM_FILE=1", "GIVEN=2", "HOSTNAME=port", "COLOUR=blue", "PWD=/data"} <= set(lines)


def test_the_working_directory_is_the_image_s_or_the_flag_s(docker: Docker) -> None:
    assert docker.run("cat", "notes.txt").stdout == "some notes\n"
    assert docker.run("cat", "notes.txt", flags=["-w", "/bin"]).returncode != 0


def test_volumes_are_shared_with_linux_containers(docker: Docker) -> None:
    folder = docker.folder()
    bind, volume = f"{folder}:/bound", "shared:/kept"
    assert docker.run("put", "/bound/a", "from wasm", flags=["-v", bind]).returncode == 0
    assert (folder / "a").read_text() == "from wasm"
    done = docker.run("put", "/bound/a", "again", flags=["-v", f"{bind}:ro"])
    assert (done.returncode, (folder / "a").read_text()) != (0, "again")
    assert docker.run("put", "/kept/b", "in a volume", flags=["-v", volume]).returncode == 0
    linux = docker.ok("run", "--rm", "-v", volume, "busybox", "/bin/busybox", "cat", "/kept/b")
    assert linux == "in a volume"
    docker.ok("volume", "rm", "shared")


def test_a_read_only_root_with_a_tmpfs(docker: Docker) -> None:
    assert docker.run("put", "/a", "b", flags=["--read-only"]).returncode != 0
    assert docker.run("put", "/t/a", "b", flags=["--read-only", "--tmpfs", "/t"]).returncode == 0


def test_a_user_may_not_write_what_is_root_s(docker: Docker) -> None:
    done = docker.run("put", "/a", "b", flags=["--user", "65534:65534"])
    assert done.returncode != 0
    assert "Permission denied" in done.stderr


def test_a_memory_limit_is_told_when_it_is_met(docker: Docker) -> None:
    done = docker.run(flags=["--memory", "32m", "--entrypoint", "/bin/grow.wasm"])
    assert done.returncode == 134
    assert "its limit is 24.0 MiB (raise it with --memory)" in done.stderr


def test_a_container_that_the_kernel_ends_for_memory_is_marked(docker: Docker) -> None:
    flags = ["--name", "greedy", "--memory", "48m", "--tmpfs", "/t"]
    done = docker("run", *WASM, *flags, "tool", "fill", "/t/a", "100")
    assert done.returncode == 137
    assert docker.inspect("greedy", ".State.OOMKilled") == "true"
    docker.remove("greedy")


def test_limits_of_processor_and_processes_are_set(docker: Docker) -> None:
    flags = ["--cpus", "0.5", "--pids-limit", "5", "--cpuset-cpus", "0", "--ulimit", "nofile=64"]
    assert docker.run(flags=flags).returncode == 0


@pytest.mark.parametrize(
    "flags",
    [
        ["--init"],
        ["--privileged"],
        ["--network", "host"],
        ["--network", "none"],
        ["--cap-add", "ALL", "--security-opt", "seccomp=unconfined"],
        ["--cgroupns", "host", "--ipc", "host", "--pid", "host", "--uts", "host"],
        ["--sysctl", "net.core.somaxconn=1024", "--shm-size", "1m", "--device", "/dev/null:/dev/x"],
        ["--log-driver", "none"],
    ],
    ids=lambda flags: flags[0],
)
def test_flags_for_linux_are_taken(docker: Docker, flags: list[str]) -> None:
    assert docker.run(flags=flags).stdout == "to stdout\n"


def test_what_cannot_run_is_told_with_docker_s_exit_codes(docker: Docker) -> None:
    missing = docker.run(flags=["--entrypoint", "nonsuch"])
    assert (missing.returncode, "nonsuch" in missing.stderr) == (127, True)
    folder = docker.run(flags=["--entrypoint", "/data"])
    assert (folder.returncode, "/data" in folder.stderr) == (126, True)


def test_a_trap_is_told_with_the_function_it_happened_in(docker: Docker) -> None:
    done = docker.run(flags=["--entrypoint", "/bin/trap.wasm"])
    assert done.returncode == 134
    assert "integer divide by zero" in done.stderr
    assert "divide" in done.stderr


def test_linux_containers_run_beside(docker: Docker) -> None:
    command = ["busybox", "/bin/busybox", "echo", "linux"]
    assert docker.ok("run", "--rm", *command) == "linux"
    assert docker.ok("run", "--rm", WASM[0], *command) == "linux"


def test_create_start_attached_and_commit(docker: Docker) -> None:
    docker.ok("create", "--name", "made", *WASM, "tool", "put", "/bin/new", "text")
    docker.ok("start", "-a", "made")
    assert "A /bin/new" in docker.ok("diff", "made")
    copied = docker.folder()
    docker.ok("cp", "made:/bin/new", str(copied))
    assert (copied / "new").read_text() == "text"
    docker.ok("commit", "made", "made-image")
    assert docker.run("cat", "/bin/new", image="made-image").stdout == "text"
    assert json.loads(docker.inspect("made", ".Platform")) in ("wasi", "linux")
    docker.remove("made")


def test_nothing_is_left_behind(docker: Docker) -> None:
    def left() -> str:
        where = "/run/wherry /run/containerd/io.containerd.runtime.v2.task"
        find = f"find {where} | sort; grep overlay /proc/mounts"
        return docker.machine.run("sh", "-c", find).stdout

    docker.run()
    before = left()
    for _ in range(3):
        docker.run()
        docker.run(flags=["--entrypoint", "nonsuch"])
    assert left() == before
