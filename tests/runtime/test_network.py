"""Which network namespace a container gets."""

import os
import subprocess
from collections.abc import Callable

import pytest
from tests.runtime.bundles import WAITS_FOR_STDIN, Bundle, run

from wherry.oci.runtime import NETWORK
from wherry.runtime import Launcher, Process

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]


async def network_of(launcher: Launcher, container: Bundle, *look: str) -> tuple[str, str]:
    """The container's network namespace, and what the command `look` sees in it."""
    container.put("main.wasm", WAITS_FOR_STDIN)
    found: list[str] = []

    async def enter(process: Process) -> None:
        found.append(os.readlink(f"/proc/{process.pid}/ns/net"))
        argv = ["nsenter", f"--net=/proc/{process.pid}/ns/net", *look]
        found.append(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)

    await run(launcher, container, while_running=enter)
    return found[0], found[1]


async def test_each_container_that_may_be_given_a_network_has_one_of_its_own(
    launcher: Launcher, bundle: Make
) -> None:
    """Docker and CNI put interfaces into it after the container was created."""
    first, interfaces = await network_of(launcher, bundle(), "cat", "/proc/net/dev")
    assert "lo:" in interfaces
    process_two: list[str] = []
    waiting = bundle()
    waiting.put("main.wasm", WAITS_FOR_STDIN)

    async def beside(process: Process) -> None:
        process_two.append(os.readlink(f"/proc/{process.pid}/ns/net"))
        third, _ = await network_of(launcher, bundle(), "true")
        process_two.append(third)

    await run(launcher, waiting, while_running=beside)
    assert process_two[0] != process_two[1]
    assert first != os.readlink("/proc/self/ns/net")


async def test_a_fresh_network_has_its_loopback_up(launcher: Launcher, bundle: Make) -> None:
    _, routes = await network_of(launcher, bundle(), "cat", "/proc/net/fib_trie")
    assert "127.0.0.1" in routes


async def test_containers_that_never_get_a_network_share_an_empty_one(
    launcher: Launcher, bundle: Make
) -> None:
    containers = [bundle(), bundle()]
    for container in containers:
        container.config["annotations"] = {NETWORK: "none"}
    seen = [await network_of(launcher, one, "cat", "/proc/net/fib_trie") for one in containers]
    assert seen[0][0] == seen[1][0] != os.readlink("/proc/self/ns/net")
    assert "127.0.0.1" not in seen[0][1]
