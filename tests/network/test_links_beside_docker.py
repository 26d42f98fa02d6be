"""Networks of ours beside those of a real dockerd, with the rules that it sets by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import peers
from tests.network.machine import FAR, INSIDE, Machine, told
from tests.network.nets import FRONT, Boxes, failure, plug, tried

from wherry.network.links import Links
from wherry.network.model import Publication

pytestmark = [pytest.mark.root, pytest.mark.dockerd]


class Docker:
    """A dockerd in a machine, with its default bridge and its iptables rules."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine, self._host = machine, f"unix://{folder}/d.sock"
        # As on a host that forwarded nothing before: then dockerd has iptables drop by default.
        machine.ok("sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
        (folder / "daemon.json").write_text("{}")
        words = [
            peers.program("dockerd"), "--config-file", str(folder / "daemon.json"),
            "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
            "--pidfile", str(folder / "pid"), "--host", self._host,
        ]  # fmt: skip
        self._daemon = peers.Daemon(machine.argv(*words), folder / "log", machine._environment())
        self._daemon.wait_until([peers.program("docker"), "-H", self._host, "version"])
        done = subprocess.run(
            self.argv("import", "-", "busybox"), input=peers.busybox_rootfs(), capture_output=True
        )
        assert done.returncode == 0, done.stderr

    def argv(self, *words: str) -> list[str]:
        return [peers.program("docker"), "-H", self._host, *words]

    def __call__(self, *words: str) -> str:
        done = subprocess.run(self.argv(*words), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def stop(self) -> None:
        self._daemon.stop()


@pytest.fixture
def docker(machine: Machine, tmp_path: Path) -> Iterator[Docker]:
    docker = Docker(machine, tmp_path)
    try:
        yield docker
    finally:
        docker.stop()


def test_both_go_on_working(machine: Machine, docker: Docker, run: Path) -> None:
    policy = machine.ok("iptables", "-S", "FORWARD").splitlines()[0]
    assert policy == "-P FORWARD DROP"
    nc = "busybox nc -l -p 80 -e echo docker"
    server = docker("run", "-d", "--rm", "busybox", "sh", "-c", f"while {nc}; do :; done")
    address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", server)

    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        await links.attach(boxes.sandbox("two", plug(FRONT, 3)))
        port = Publication(container_port=80, protocol="tcp", host_ip="", host_port=8080)
        await links.publish("one", port)
        with boxes["one"].answering("172.18.0.2", 80):
            return {
                "ours, outside": boxes["one"].do(told, FAR, 80),
                "ours, a neighbour": boxes["two"].do(told, "172.18.0.2", 80),
                "ours, published": machine.outside.do(told, INSIDE, 8080) != "",
                "ours to Docker's": boxes["one"].do(failure, told, address, 80, 1),
                "Docker's, outside": docker("run", "--rm", "busybox", "busybox", "nc", FAR, "80"),
                "Docker's to ours": docker(
                    "run", "--rm", "busybox", "sh", "-c",
                    "busybox nc -w 2 172.18.0.2 80 || echo no",
                ),
            }  # fmt: skip

    with machine.outside.answering(FAR, 80):
        seen = tried(machine, trial, run, None)
    docker("kill", server)
    assert seen.pop("ours to Docker's") in ("timeout", "EHOSTUNREACH")
    assert seen == {
        "ours, outside": INSIDE,
        "ours, a neighbour": "172.18.0.3",
        "ours, published": True,
        "Docker's, outside": INSIDE,
        "Docker's to ours": "no",
    }
    assert "WHERRY" not in machine.ok("iptables-save")
