"""`docker exec`: another module of the image in the sandbox of a running container."""

import os
import subprocess
from collections.abc import Iterator

import pytest
from tests.docker.engine import WASM, Docker, until
from tests.terminals import all_shown

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def container(docker: Docker) -> Iterator[str]:
    """A container that sleeps."""
    docker.start("outer", "sleep", "1000", flags=["--tmpfs", "/scratch"])
    yield "outer"
    docker.remove("outer")


def test_it_runs_in_the_container_s_root_and_gives_its_exit_code(
    docker: Docker, container: str
) -> None:
    assert docker.ok("exec", container, "/bin/toolbox.wasm", "put", "/scratch/a", "kept") == ""
    assert docker.ok("exec", container, "toolbox.wasm", "cat", "/scratch/a") == "kept"
    assert docker("exec", container, "/bin/exit.wasm", "9").returncode == 9


@pytest.mark.parametrize(
    ("program", "status"),
    [("/nope.wasm", 127), ("nonsuch", 127), ("/bin", 126), ("/bin/nonsense.wasm", 126)],
)
def test_what_cannot_run_gives_the_exit_code_that_docker_has_for_it(
    docker: Docker, container: str, program: str, status: int
) -> None:
    docker.ok("exec", container, "toolbox.wasm", "put", "/bin/nonsense.wasm", "nonsense")
    # Docker 26 has one for all that cannot be started.
    old = docker.ok("version", "-f", "{{.Server.Version}}").startswith("26.")
    assert docker("exec", container, program).returncode == (126 if old else status)
    if program != "/bin/nonsense.wasm":  # which the image has not
        done = docker("run", "--rm", *WASM, "--entrypoint", program, "tool")
        assert done.returncode == status, done.stderr


def test_input_environment_user_and_working_directory(docker: Docker, container: str) -> None:
    assert docker.ok("exec", "-i", container, "toolbox.wasm", "cat", stdin="piped") == "piped"
    flags = ["-e", "MORE=1", "-w", "/bin", "-u", "65534:65534"]
    lines = docker.ok("exec", *flags, container, "/bin/environ.wasm").splitlines()
    assert {"MORE=1", "COLOUR=blue", "PWD=/bin"} <= set(lines)
    denied = docker("exec", "-u", "65534", container, "toolbox.wasm", "put", "/bin/a", "b")
    assert (denied.returncode != 0, "Permission denied" in denied.stderr) == (True, True)


def test_a_terminal(docker: Docker, container: str) -> None:
    master, slave = os.openpty()
    argv = docker.dockerd.argv("exec", "-it", container, "toolbox.wasm", "isatty")
    environment = docker.machine.environment()
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    assert b"1 1 1\r\n" in all_shown(master)
    assert process.wait(60) == 0
    os.close(master)


def test_a_detached_one_is_seen_beside_the_first(docker: Docker, container: str) -> None:
    docker.ok("exec", "-d", container, "toolbox.wasm", "sleep", "997")
    until(lambda: "toolbox.wasm sleep 997" in docker.ok("top", container))


def test_a_health_check_of_the_image(docker: Docker) -> None:
    docker.build(
        "FROM tool\n"
        'HEALTHCHECK --interval=200ms --start-interval=200ms CMD ["toolbox.wasm","cat","/bin/ok"]\n'
        'CMD ["sleep", "1000"]\n',
        "checked",
        [],
    )
    docker.ok("run", "-d", "--name", "checked", *WASM, "--health-retries", "1", "checked")
    until(lambda: docker.inspect("checked", ".State.Health.Status") == '"unhealthy"')
    docker.ok("exec", "checked", "toolbox.wasm", "put", "/bin/ok", "well")
    until(lambda: docker.inspect("checked", ".State.Health.Status") == '"healthy"')
    assert '"well"' in docker.inspect("checked", ".State.Health.Log")
    docker.remove("checked")
