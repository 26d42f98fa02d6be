"""Kernel parameters that a bundle sets: its own namespaces', and never the host's."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.bundles import WAITS_FOR_STDIN, Bundle, run

from wherry.oci import runtime as spec
from wherry.runtime import Launcher, LaunchError, Process
from wherry.runtime.sandbox import sysctls

Make = Callable[..., Bundle]


def config(values: dict[str, str], *kinds: str, network: str = "") -> spec.Spec:
    paths = {"network": network}
    namespaces = [spec.Namespace(type=kind, path=paths.get(kind, "")) for kind in kinds]
    return spec.Spec(oci_version="1.1.0", linux=spec.Linux(namespaces=namespaces, sysctl=values))


ALL = ("network", "ipc", "uts", "pid")


@pytest.mark.parametrize(
    "name",
    [
        "net.ipv4.ip_forward",
        "net/ipv4/conf/eth0.1/forwarding",
        "net.ipv4.conf.eth0/1.forwarding",
        "kernel.shmmax",
        "kernel.shm_rmid_forced",
        "kernel/sem",
        "fs.mqueue.msg_max",
        "kernel.domainname",
    ],
)
def test_what_belongs_to_a_namespace_of_its_own_may_be_set(name: str) -> None:
    sysctls.check(config({name: "1"}, *ALL))


@pytest.mark.parametrize(
    ("name", "kinds", "says"),
    [
        ("net.ipv4.ip_forward", ("ipc", "uts"), "needs a network namespace"),
        ("kernel.msgmax", ("network", "uts"), "needs an ipc namespace"),
        ("fs.mqueue.msg_max", ("network",), "needs an ipc namespace"),
        ("kernel.domainname", ("network", "ipc"), "needs a uts namespace"),
        ("kernel.hostname", ALL, "the bundle's hostname"),
        ("kernel.panic", ALL, "would change the host"),
        ("kernel.core_pattern", ALL, "would change the host"),
        ("vm.swappiness", ALL, "would change the host"),
        ("user.max_user_namespaces", ALL, "would change the host"),
        ("kernel.shmmax2", ALL, "would change the host"),
        ("network.x", ALL, "would change the host"),
        ("net/../kernel/core_pattern", ALL, "no name of a kernel parameter"),
        ("net.//.kernel.core_pattern", ALL, "no name of a kernel parameter"),
        ("net/ipv4/./ip_forward", ALL, "no name of a kernel parameter"),
        ("net..ipv4", ALL, "no name of a kernel parameter"),
        (".net.ipv4.ip_forward", ALL, "no name of a kernel parameter"),
        ("net.ipv4.ip_forward\n", ALL, "no name of a kernel parameter"),
        ("", ALL, "no name of a kernel parameter"),
    ],
)
def test_what_would_change_the_host_is_refused(
    name: str, kinds: tuple[str, ...], says: str
) -> None:
    with pytest.raises(LaunchError, match=says) as failure:
        sysctls.check(config({name: "1"}, *kinds))
    assert "\n" not in failure.value.message


def test_the_hosts_network_given_by_path_is_the_hosts() -> None:
    with pytest.raises(LaunchError, match="needs a network namespace"):
        sysctls.check(config({"net.ipv4.ip_forward": "1"}, "network", network="/proc/self/ns/net"))


@pytest.mark.root
@pytest.mark.parametrize("annotations", [{}, {spec.NETWORK: "none"}])
async def test_a_container_has_its_parameters_and_the_host_keeps_its_own(
    launcher: Launcher, bundle: Make, annotations: dict[str, Any]
) -> None:
    wanted = {"net.ipv4.ip_unprivileged_port_start": "77", "kernel.msgmax": "12345"}
    container = bundle()
    container.config["linux"]["sysctl"] = wanted
    container.config["annotations"] = annotations
    container.put("main.wasm", WAITS_FOR_STDIN)
    before = [_read(name) for name in wanted]
    found: list[str] = []

    async def look(process: Process) -> None:
        for name in wanted:
            enter = ["nsenter", "-t", str(process.pid), "-n", "-i"]
            command = [*enter, "cat", f"/proc/sys/{name.replace('.', '/')}"]
            found.append(subprocess.run(command, capture_output=True, text=True).stdout.strip())

    assert (await run(launcher, container, while_running=look)).status == 0
    assert found == list(wanted.values())
    assert [_read(name) for name in wanted] == before
    # Nor is it that of all containers without a network.
    other = bundle()
    other.config["annotations"] = {spec.NETWORK: "none"}
    other.put("main.wasm", WAITS_FOR_STDIN)
    found.clear()
    await run(launcher, other, while_running=look)
    assert found[0] == "1024"


def _read(name: str) -> str:
    return Path("/proc/sys", *name.split(".")).read_text().strip()


@pytest.mark.root
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"net.ipv4.no_such_thing": "1"}, "net.ipv4.no_such_thing .*No such file"),
        ({"net.ipv4.ip_forward": "maybe"}, "net.ipv4.ip_forward .*'maybe': Invalid argument"),
        ({"kernel.panic": "1"}, "kernel.panic belongs to no namespace"),
    ],
)
async def test_a_parameter_that_cannot_be_set_keeps_the_container_from_being_made(
    launcher: Launcher, bundle: Make, values: dict[str, str], says: str
) -> None:
    container = bundle()
    container.config["linux"]["sysctl"] = values
    container.put("main.wasm", WAITS_FOR_STDIN)
    null = os.open("/dev/null", os.O_RDWR)
    with pytest.raises(LaunchError, match=says):
        await launcher.create(container.request(null, null, null))
    os.close(null)
