"""`docker compose` with a Wasm service beside a Linux one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docker.engine import RUNTIME, Docker, until

pytestmark = pytest.mark.root

_PROJECT = f"""
x-wasm: &wasm
  platform: wasi/wasm
  runtime: {RUNTIME}
services:
  web:
    <<: *wasm
    image: sockets
    ports: ["8090:8000"]
    restart: unless-stopped
  writer:
    <<: *wasm
    image: tool
    command: [put, /shared/greeting, from wasm]
    volumes: ["shared:/shared"]
  waiting:
    <<: *wasm
    image: tool
    command: [sleep, "1000"]
    healthcheck:
      test: [CMD, /bin/toolbox.wasm, cat, notes.txt]
      interval: 200ms
  built:
    <<: *wasm
    build:
      context: .
      platforms: [wasi/wasm]
    environment: {{COLOUR: green}}
  files:
    image: busybox
    init: true
    command: [/bin/busybox, httpd, -f, -h, /shared]
    volumes: ["shared:/shared"]
    depends_on:
      writer: {{condition: service_completed_successfully}}
      waiting: {{condition: service_healthy}}
  client:
    <<: *wasm
    image: sockets
    command: [get, web, "8000"]
    profiles: [later]
volumes:
  shared:
"""
_DOCKERFILE = """
FROM scratch
COPY environ.wasm /app/main.wasm
WORKDIR /app
ENTRYPOINT ["main.wasm"]
"""


class Project:
    """A compose project, up."""

    def __init__(self, docker: Docker, folder: Path) -> None:
        self.docker = docker
        self._file = str(folder / "compose.yaml")

    def __call__(self, *args: str) -> str:
        """What `docker compose ARGS`, which succeeds, prints."""
        return self.docker.ok("compose", "--ansi", "never", "-p", "fleet", "-f", self._file, *args)


@pytest.fixture(scope="module")
def project(docker: Docker) -> Iterator[Project]:
    """The project above, up, built and all."""
    folder = docker.folder()
    (folder / "compose.yaml").write_text(_PROJECT)
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    (folder / "environ.wasm").write_bytes(docker.guest("environ"))
    project = Project(docker, folder)
    project("up", "-d", "--build", "--quiet-pull")
    yield project
    project("down", "-v", "-t", "1000")
    assert docker.ok("ps", "-aq", "--filter", "label=com.docker.compose.project=fleet") == ""


def test_services_of_both_kinds_share_a_volume_and_a_network(project: Project) -> None:
    fetch = ["/bin/busybox", "wget", "-q", "-O", "-"]
    assert project("exec", "-T", "files", *fetch, "http://127.0.0.1/greeting") == "from wasm"
    until(lambda: "listening" in project("logs", "web"))
    assert project("exec", "-T", "files", *fetch, "http://web:8000/") == "GET / HTTP/1.1"
    url = "http://127.0.0.1:8090/"
    published = project.docker.machine.run("busybox", "wget", "-q", "-O", "-", url)
    assert published.stdout == "GET / HTTP/1.1\n"


def test_a_service_finds_another_by_name(project: Project) -> None:
    assert "GET / HTTP/1.0" in project("run", "--rm", "-T", "client")


def test_a_service_is_built_for_wasm(project: Project) -> None:
    logs = project("logs", "--no-log-prefix", "built")
    lines = logs.replace("\x1b[2K", "").splitlines()  # some releases clear the line before
    assert lines[0] == "main.wasm"
    assert {"COLOUR=green", "PWD=/app"} <= set(lines)


def test_ps_tells_which_services_run_and_are_healthy(project: Project) -> None:
    shown = project("ps", "-a", "--format", "{{.Service}} {{.State}} {{.Health}} {{.ExitCode}}")
    lines = {line.split()[0]: line.split()[1:] for line in shown.splitlines()}
    assert lines["web"] == ["running", "0"]
    assert lines["waiting"] == ["running", "healthy", "0"]
    assert lines["writer"] == ["exited", "0"]


def test_exec_in_a_service(project: Project) -> None:
    assert project("exec", "-T", "waiting", "toolbox.wasm", "cat", "notes.txt") == "some notes"


def test_a_service_is_restarted(project: Project) -> None:
    name = project("ps", "-q", "waiting")
    before = project.docker.pid(name)
    project("restart", "-t", "1000", "waiting")
    assert project.docker.pid(name) != before
