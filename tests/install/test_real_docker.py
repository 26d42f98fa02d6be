"""What a person types on a machine with Docker: install, doctor, run, uninstall."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator

import pytest
from tests.conftest import without
from tests.cri.node import ThisMachine
from tests.debian import Machine, Suite, SuiteMissing
from tests.guests.toolchain import Guests
from tests.shim.archive import oci_archive
from tests.shim.guests import HELLO, SPIN

pytestmark = [pytest.mark.root, pytest.mark.dockerd]

CONFIG = "/etc/docker/daemon.json"
LIBRARY = "docker.io/library"
WASM = ("--runtime=io.containerd.wherry.v1", "--platform=wasi/wasm")
SERVICE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""What systemd gives to a daemon: nothing of the folder wherry's commands are in."""


@contextlib.contextmanager
def booted(suite: Suite, *, bridge: bool = False) -> Iterator[Machine]:
    """A machine whose daemon.json is the person's own; `bridge`: with Docker's own network."""
    with suite.machine() as machine:
        own = {
            "cgroup-parent": machine.cgroup_parent, "storage-driver": "vfs",
            **({} if bridge else {"bridge": "none", "iptables": False}),
        }  # fmt: skip
        (machine.folder / "own.json").write_text(json.dumps(own, indent=2) + "\n")
        script = f"mkdir -p /etc/docker; cp {machine.folder}/own.json {CONFIG}"
        assert machine.run("sh", "-c", script).returncode == 0
        yield machine


@contextlib.contextmanager
def running(machine: Machine) -> Iterator[None]:
    """Docker as a service starts it, above a containerd of its own."""
    daemon = machine.daemon("dockerd", name="dockerd", env=SERVICE)
    try:
        daemon.wait_until(machine.argv("docker", "version"))
        yield
    finally:
        # Not the whole group: nsenter ends when dockerd has.
        machine.run("sh", "-c", "kill $(cat /run/docker.pid)")
        daemon.process.wait(60)


def test_docker_20_10_gives_wasm_its_default_network(guests: Guests) -> None:
    with booted(ThisMachine(), bridge=True) as machine:
        if not machine.run("dockerd", "--version").stdout.startswith("Docker version 20."):
            without("this machine's Docker is not 20.10")
        done = machine.run("wherry", "install", "docker")
        assert done.returncode == 0, done.stderr
        with running(machine):
            (machine.folder / "rootfs.tar").write_bytes(rootfs(guests.sockets().read_bytes()))
            words = ("-c", 'ENTRYPOINT ["/main.wasm"]', f"{machine.folder}/rootfs.tar", "server")
            assert machine.run("docker", "import", *words).returncode == 0
            flags = ("--name", "web", "-p", "8080:8000", "--runtime=io.containerd.wherry.v1")
            done = machine.run("docker", "run", "-d", *flags, "server", "serve", "8000")
            assert done.returncode == 0, done.stderr
            followed = machine.argv("docker", "logs", "--follow", "web")
            with subprocess.Popen(
                followed, env=machine.environment(), stdout=subprocess.PIPE, text=True
            ) as logs:
                assert logs.stdout is not None and logs.stdout.readline() == "listening\n"
                # From the container's own side of the bridge, and by the published port.
                done = machine.run("docker", "exec", "web", "main.wasm", "get", "127.0.0.1", "8000")
                assert done.stdout.startswith("HTTP/1.0 200 OK"), done.stderr
                fetch = (
                    "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/').status)"
                )
                done = machine.run(sys.executable, "-c", fetch)
                assert done.stdout == "200\n", done.stderr
                assert machine.run("docker", "stop", "--time", "60", "web").returncode == 0
            form = ("-f", "{{.State.ExitCode}}")
            assert machine.run("docker", "inspect", *form, "web").stdout == "143\n"
            assert machine.run("docker", "rm", "web").returncode == 0


def rootfs(module: bytes) -> bytes:
    """A tar of a root file system with a module in it."""
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as tar:
        file = tarfile.TarInfo("main.wasm")
        file.size = len(module)
        tar.addfile(file, io.BytesIO(module))
    return image.getvalue()


@pytest.mark.parametrize("name", ["trixie", "forky"])
def test_docker_runs_wasm_after_an_install(name: str) -> None:
    try:
        suite = Suite(name)
    except SuiteMissing as error:
        if name == "forky":
            pytest.skip(str(error))  # Debian's testing moves, also in CI
        without(str(error))
    with booted(suite) as machine:
        refused = machine.run("wherry", "install", "docker", input="")
        assert refused.returncode == 1 and "--yes" in refused.stderr
        with running(machine):
            said = machine.run("wherry", "doctor").stdout
            assert "warning  docker      the image store cannot hold images for wasi/wasm" in said
        done = machine.run("wherry", "install", "docker", "--yes", "--also", "wasmedge")
        assert done.returncode == 0, done.stderr
        assert "systemctl restart docker" in done.stdout
        archive = machine.folder / "images.tar"
        archive.write_bytes(
            oci_archive({f"{LIBRARY}/hello:latest": HELLO, f"{LIBRARY}/spin:latest": SPIN})
        )
        with running(machine):
            said = machine.run("wherry", "doctor").stdout
            assert [line for line in said.splitlines() if line.split()[1] == "docker"
                    and not line.startswith("ok")] == []  # fmt: skip
            assert machine.run("docker", "load", "-i", str(archive)).returncode == 0
            for runtime in ("wherry", "wasmedge"):
                flags = (f"--runtime=io.containerd.{runtime}.v1", "--platform=wasi/wasm")
                done = machine.run("docker", "run", "--rm", *flags, "hello")
                assert done.stdout == "hello\n", done.stderr
            # What holds a container is not taken away below it.
            machine.run("docker", "run", "-d", "--name", "held", *WASM, "spin")
            id = machine.run("docker", "inspect", "-f", "{{.Id}}", "held").stdout.strip()
            refused = machine.run("wherry", "uninstall", "docker", "--yes")
            assert refused.returncode == 1
            assert f"moby/{id[:12]}" in refused.stderr
            machine.run("docker", "rm", "-f", "held")
            done = machine.run("wherry", "uninstall", "docker", "--yes")
            assert done.returncode == 0, done.stderr
        assert machine.run("cat", CONFIG).stdout == (machine.folder / "own.json").read_text()
        left = machine.run("sh", "-c", "ls /usr/local/bin /etc/docker").stdout
        assert "wherry" not in left and "wasmedge" not in left


def test_docker_20_10_runs_wasm_by_the_same_words() -> None:
    with booted(ThisMachine()) as machine:
        # Of this machine's Docker, whatever it is, only what is older than 23 is meant.
        if not machine.run("dockerd", "--version").stdout.startswith("Docker version 20."):
            without("this machine's Docker is not 20.10")
        done = machine.run("wherry", "install", "docker")
        assert done.returncode == 0, done.stderr
        with running(machine):
            said = machine.run("wherry", "doctor").stdout
            assert (
                "ok       docker      its runtime wherry is /usr/local/bin/wherry-runtime" in said
            )
            for name, text in (("hello", HELLO), ("spin", SPIN)):
                (machine.folder / "rootfs.tar").write_bytes(rootfs(text.encode()))
                words = ("-c", 'ENTRYPOINT ["/main.wasm"]', f"{machine.folder}/rootfs.tar", name)
                assert machine.run("docker", "import", *words).returncode == 0
            for runtime in ("wherry", "io.containerd.wherry.v1"):
                flags = (f"--runtime={runtime}", "--network=none")
                done = machine.run("docker", "run", "--rm", *flags, "hello")
                assert done.stdout == "hello\n", done.stderr
                done = machine.run("docker", "run", "-d", "--name", "held", *flags, "spin")
                assert done.returncode == 0, done.stderr
                refused = machine.run("wherry", "uninstall", "docker")
                assert refused.returncode == 1
                assert f"moby/{done.stdout[:12]}" in refused.stderr
                machine.run("docker", "rm", "-f", "held")
        done = machine.run("wherry", "uninstall", "docker")
        assert done.returncode == 0, done.stderr
        assert machine.run("cat", CONFIG).stdout == (machine.folder / "own.json").read_text()
