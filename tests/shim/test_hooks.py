"""Hooks under a shim of our own: a container's network made by a CNI plugin, and given back."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import without
from tests.runtime.bundles import Bundle, make_bundle
from tests.shim.containerds import install_shim
from tests.shim.guests import ALL

from wherry.shim.client import EventsServer, TaskClient, TaskError, start_shim

pytestmark = pytest.mark.root

_CNI = "/usr/lib/cni"
_NETWORK = {"cniVersion": "0.4.0", "name": "test", "type": "bridge", "bridge": "wherry0"}

_HOOK = """\
#!/bin/sh
# A hook as engines have them: the network of the container in the state, by a CNI plugin.
pid=$(sed -n 's/.*"pid":\\([0-9]*\\).*/\\1/p')
export CNI_COMMAND=$1 CNI_CONTAINERID=a CNI_IFNAME=eth0 CNI_PATH={cni}
export CNI_NETNS=${{pid:+/proc/$pid/ns/net}}
exec ip netns exec {host} {cni}/bridge < {network} >&2
"""


class Shim:
    """A server of the real command in `folder`, and its client."""

    def __init__(self, folder: Path, client: TaskClient) -> None:
        self.folder = folder
        self.client = client

    def bundle(self, guest: str, **hooks: list[dict[str, Any]]) -> Bundle:
        bundle = make_bundle(self.folder / "bundle")
        bundle.put("main.wasm", ALL[guest])
        bundle.config["hooks"] = hooks
        return bundle

    async def create(self, bundle: Bundle) -> int:
        request = bundle.request(0, 1, 2)
        return await self.client.create(id="a", bundle=str(bundle.path), rootfs=request.rootfs)

    def delete_by_command(self, bundle: Bundle) -> bytes:
        """What containerd does for a task whose shim is gone."""
        flags = ["-namespace", "hooks", "-address", "", "-id", "a", "-bundle", str(bundle.path)]
        return subprocess.run(
            [str(self.folder / "bin/containerd-shim-wherry-v1"), *flags, "delete"],
            cwd=bundle.path,
            env={"PATH": os.defpath},
            capture_output=True,
            check=True,
        ).stdout


@pytest.fixture
async def shim(tmp_path: Path) -> AsyncIterator[Shim]:
    install_shim(tmp_path / "bin", tmp_path / "run", tmp_path / "data")
    async with EventsServer(tmp_path / "events") as events:
        address = await start_shim(
            runtime=str(tmp_path / "bin" / "containerd-shim-wherry-v1"),
            namespace="hooks",
            id="a",
            bundle=tmp_path,
            events_address=str(events.path),
        )
        client = await TaskClient.connect(address)
        yield Shim(tmp_path, client)
        if not client.closed.is_set():
            with contextlib.suppress(TaskError):  # of a test that failed
                await client.kill("a", signal.SIGKILL)
                await client.wait("a")
                await client.delete("a")
            await client.shutdown(now=True)
            await client.closed.wait()


class Cni:
    """A network namespace in the place of the host's, and hooks that join containers to it."""

    def __init__(self, folder: Path) -> None:
        self.host = f"wherry-hooks-{os.getpid()}"
        self._leases = folder / "leases"
        network = folder / "network.json"
        ipam = {"type": "host-local", "subnet": "10.91.0.0/24", "dataDir": str(self._leases)}
        network.write_text(json.dumps(_NETWORK | {"isGateway": True, "ipam": ipam}))
        self._hook = folder / "cni-hook"
        self._hook.write_text(_HOOK.format(cni=_CNI, host=self.host, network=network))
        self._hook.chmod(0o755)

    def hook(self, command: str) -> list[dict[str, Any]]:
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        return [{"path": str(self._hook), "args": ["cni-hook", command], "env": [path]}]

    @property
    def leases(self) -> list[str]:
        """The addresses that are given out."""
        return [path.name for path in self._leases.glob("test/10.*")]

    def answers(self, address: str) -> bool:
        """Whether a machine has `address`: then it refuses a connection, since nobody listens."""
        script = (
            "import socket, sys; s = socket.socket(); s.settimeout(10)\n"
            f"sys.exit(s.connect_ex(('{address}', 81)))"
        )
        command = ["ip", "netns", "exec", self.host, sys.executable, "-S", "-c", script]
        return subprocess.run(command).returncode == 111  # ECONNREFUSED


@pytest.fixture
def cni(tmp_path: Path) -> Iterator[Cni]:
    if not os.path.exists(f"{_CNI}/bridge"):
        without(f"{_CNI}/bridge is not installed")
    cni = Cni(tmp_path)
    subprocess.run(["ip", "netns", "add", cni.host], check=True)
    try:
        yield cni
    finally:
        subprocess.run(["ip", "netns", "delete", cni.host], check=True)


def addresses(pid: int) -> dict[str, list[str]]:
    """The IPv4 addresses of a process's interfaces."""
    command = ["nsenter", "-t", str(pid), "-n", "ip", "-json", "-4", "address"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {link["ifname"]: [one["local"] for one in link["addr_info"]] for link in found}


@pytest.mark.parametrize("place", ["prestart", "createRuntime"])
async def test_a_cni_plugin_gives_a_container_its_network_and_takes_it_back(
    shim: Shim, cni: Cni, place: str
) -> None:
    bundle = shim.bundle("spin", **{place: cni.hook("ADD")}, poststop=cni.hook("DEL"))
    pid = await shim.create(bundle)
    await shim.client.start("a")
    found = addresses(pid)
    assert found["eth0"] == cni.leases
    assert found["eth0"][0].startswith("10.91.0.")
    assert cni.answers(found["eth0"][0])
    await shim.client.kill("a", signal.SIGTERM)
    assert (await shim.client.wait("a")).status == 143
    assert cni.leases != []
    await shim.client.delete("a")
    assert cni.leases == []


async def test_the_network_is_given_back_though_the_shim_was_killed(shim: Shim, cni: Cni) -> None:
    bundle = shim.bundle("spin", createRuntime=cni.hook("ADD"), poststop=cni.hook("DEL"))
    await shim.create(bundle)
    await shim.client.start("a")
    os.kill(await shim.client.shim_pid("a"), signal.SIGKILL)
    await shim.client.closed.wait()
    assert len(cni.leases) == 1
    assert shim.delete_by_command(bundle)
    assert cni.leases == []
    assert shim.delete_by_command(bundle) == b""


async def test_the_last_hooks_run_though_the_shim_was_killed_while_the_first_ones_did(
    shim: Shim, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pid")
    bundle = shim.bundle(
        "spin",
        createRuntime=[_sh(f"echo $$ > {tmp_path}/pid; exec sleep 600")],
        poststop=[_sh(f"cat > {tmp_path}/state")],
    )
    creation = asyncio.ensure_future(shim.create(bundle))
    hook = int(await asyncio.to_thread((tmp_path / "pid").read_text))
    try:
        os.kill(await shim.client.shim_pid(""), signal.SIGKILL)
        with pytest.raises((TaskError, ConnectionError)):
            await creation
        assert shim.delete_by_command(bundle)
        state = json.loads((tmp_path / "state").read_text())
        assert (state["id"], state["status"]) == ("a", "stopped")
        assert state["bundle"] == str(bundle.path)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(hook, signal.SIGKILL)


def _sh(script: str) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script]}


async def test_a_failed_hook_is_what_the_client_is_told(shim: Shim, tmp_path: Path) -> None:
    bundle = shim.bundle(
        "hello",
        createRuntime=[_sh("echo no bridge >&2; exit 3")],
        poststop=[_sh(f"touch {tmp_path}/stopped")],
    )
    with pytest.raises(TaskError, match="createRuntime hook /bin/sh ended with status 3: no bri"):
        await shim.create(bundle)
    assert (tmp_path / "stopped").exists()
    assert shim.delete_by_command(bundle) == b""


async def test_a_hook_that_fails_at_the_start_ends_the_container_without_its_guest(
    shim: Shim, tmp_path: Path
) -> None:
    bundle = shim.bundle(
        "hello",
        startContainer=[{"path": "/bin/nothing"}],
        poststop=[_sh(f"touch {tmp_path}/stopped")],
    )
    await shim.create(bundle)
    with pytest.raises(TaskError, match="startContainer hook /bin/nothing cannot be run"):
        await shim.client.start("a")
    assert (await shim.client.wait("a")).status == 137
    assert not (tmp_path / "stopped").exists()
    await shim.client.delete("a")
    assert (tmp_path / "stopped").exists()


async def test_a_hook_holds_no_descriptor_of_the_shim(shim: Shim, tmp_path: Path) -> None:
    listing = _sh(f"ls -l /proc/self/fd >> {tmp_path}/fds")
    bundle = shim.bundle("hello", createRuntime=[listing], createContainer=[listing])
    await shim.create(bundle)
    held = (tmp_path / "fds").read_text()
    assert "memfd:state" in held
    assert "socket:" not in held and "/cgroup/" not in held and "ns/" not in held
    await shim.client.delete("a")
