"""Docker's own compose with a file of services in networks, against wherryd."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import suite
from tests.engine_under_test import Wherry, until
from tests.guests.toolchain import Guests
from tests.network.machine import Machine

pytestmark = [pytest.mark.dockerd, pytest.mark.guests]

_SERVICES = """
services:
  web:
    image: sockets
    platform: wasi/wasm
    runtime: io.containerd.wherry.v1
    command: ["serve", "8000"]
    ports: ["8091:8000", "127.0.0.1::8000"]
    networks:
      front: {aliases: [boat]}
      back: {ipv4_address: 10.99.0.7}
NEWER
  client:
    image: sockets
    command: ["get", "web", "8000"]
    depends_on: [web]
    restart: on-failure
    networks: [back]
networks:
  front: {}
  back: {ipam: {config: [{subnet: 10.99.0.0/16}]}, internal: true}
"""

_NEWER = """
    volumes: [{type: image, source: sockets, target: /image}]
"""

Docker = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def engine(guests: Guests) -> Iterator[tuple[Wherry, Machine]]:
    with Machine() as machine, Wherry() as wherry:
        wherry.within = machine.within
        wherry.image("sockets", guests.sockets())
        yield wherry, machine


@pytest.fixture(scope="module", params=["trixie", "forky"])
def docker(request: pytest.FixtureRequest, engine: tuple[Wherry, Machine]) -> Iterator[Docker]:
    """The commands of Docker 26 and 28, which talk to the engine."""
    wherry, _ = engine
    with suite(request.param).machine(binds=[wherry.folder]) as there:
        yield lambda *args: there.run("docker", "-H", f"unix://{wherry.socket_path}", *args)


def test_services_in_networks_come_up_and_go(
    engine: tuple[Wherry, Machine], docker: Docker
) -> None:
    wherry, machine = engine
    folder = wherry.folder / "fleet"
    folder.mkdir(exist_ok=True)
    file = Path(folder / "compose.yaml")
    version = docker("version", "-f", "{{.Client.APIVersion}}").stdout.strip()
    mounts_images = int(version.partition(".")[2]) >= 48
    file.write_text(_SERVICES.replace("NEWER", _NEWER if mounts_images else ""))
    compose = ("compose", "-f", str(file))
    up = docker(*compose, "up", "-d")
    assert up.returncode == 0, up.stderr
    assert machine.ok("curl", "-sS", "--retry", "5", "--retry-all-errors",
                      "http://127.0.0.1:8091/x") == "GET /x HTTP/1.1\n"  # fmt: skip
    # The client begins anew until the server listens.
    until(lambda: "GET / HTTP/1.0" in docker("logs", "fleet-client-1").stdout, "nobody was served")
    shown = "{{range $name, $it := .NetworkSettings.Networks}}{{$name}} {{$it.IPAddress}};{{end}}"
    found = docker("inspect", "-f", shown, "fleet-web-1").stdout
    assert found.startswith("fleet_back 10.99.0.7;fleet_front 172.")
    ports = docker("port", "fleet-web-1", "8000").stdout.splitlines()
    assert {"0.0.0.0:8091", "[::]:8091"} < set(ports)
    again = docker(*compose, "up", "-d")
    assert "Recreate" not in again.stderr, "it is not as it was asked for"
    down = docker(*compose, "down")
    assert down.returncode == 0, down.stderr
    names = docker("network", "ls", "--format", "{{.Name}}").stdout.split()
    assert sorted(names) == ["bridge", "host", "none"]
