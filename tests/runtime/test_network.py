"""Which network namespace a container gets."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import without
from tests.guests.toolchain import Guests
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


PORTS_OF_ROOT = "net/ipv4/ip_unprivileged_port_start"


async def test_anyone_may_serve_port_80_of_a_network_of_the_containers_own(
    launcher: Launcher, bundle: Make
) -> None:
    _, first = await network_of(launcher, bundle(), "cat", f"/proc/sys/{PORTS_OF_ROOT}")
    assert first == "0\n"


async def test_a_bundle_may_say_which_ports_are_roots(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.config["linux"]["sysctl"] = {PORTS_OF_ROOT.replace("/", "."): "500"}
    _, first = await network_of(launcher, container, "cat", f"/proc/sys/{PORTS_OF_ROOT}")
    assert first == "500\n"


async def test_a_network_that_is_joined_is_left_as_it_is(launcher: Launcher, bundle: Make) -> None:
    with subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE) as holder:
        host = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{holder.pid}/ns/net") == host:
            os.sched_yield()
        container = bundle()
        for namespace in container.config["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = f"/proc/{holder.pid}/ns/net"
        _, first = await network_of(launcher, container, "cat", f"/proc/sys/{PORTS_OF_ROOT}")
        assert first == "1024\n"


async def test_containers_that_never_get_a_network_share_an_empty_one(
    launcher: Launcher, bundle: Make
) -> None:
    containers = [bundle(), bundle()]
    for container in containers:
        container.config["annotations"] = {NETWORK: "none"}
    seen = [await network_of(launcher, one, "cat", "/proc/net/fib_trie") for one in containers]
    assert seen[0][0] == seen[1][0] != os.readlink("/proc/self/ns/net")
    assert "127.0.0.1" not in seen[0][1]


HOSTILE_LIBRARY = """
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) { write(1, "NATIVE\\n", 7); }
"""


ASKS_FOR_A_SERVICE = """(module
  (import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_getaddrinfo"
    (func $ask (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "harbour")
  (data (i32.const 64) "\\00\\00\\00\\02")
  (func (export "_start")
    (i32.store (i32.const 32) (i32.const 128))
    (call $exit (call $ask (i32.const 256) (i32.const 0) (i32.const 16) (i32.const 7)
      (i32.const 64) (i32.const 32) (i32.const 1) (i32.const 40)))))"""


def hostile(folder: Path) -> Path:
    """A library that says so when it is loaded."""
    if shutil.which("gcc") is None:
        without("gcc, to make a library")
    (folder / "hostile.c").write_text(HOSTILE_LIBRARY)
    library = folder / "hostile.so"
    gcc = ["gcc", "-shared", "-fPIC", "-o", str(library), str(folder / "hostile.c")]
    subprocess.run(gcc, check=True)
    return library


def bring(container: Bundle, library: Path, *sources: str) -> None:
    """Have an image bring `library` as what looks up things for each of `sources`."""
    machine = f"{os.uname().machine}-linux-gnu"
    folders = ("lib", "lib64", "usr/lib", "usr/lib64", f"lib/{machine}", f"usr/lib/{machine}")
    for folder in folders:
        for source in sources:
            container.put(f"{folder}/libnss_{source}.so.2", library.read_bytes())


async def test_no_library_of_an_image_is_loaded_to_look_up_a_service(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    """Debian's own nsswitch.conf names one for services (db) that nothing has loaded yet."""
    container = bundle()
    container.put("main.wasm", ASKS_FOR_A_SERVICE)
    container.put("etc/services", "harbour 4711/tcp\n")
    container.put("etc/nsswitch.conf", "services: hostile\n")
    with contextlib.suppress(OSError):
        words = Path("/etc/nsswitch.conf").read_text().split()
        bring(container, hostile(tmp_path), "hostile", "db", *filter(str.isalnum, words))
    outcome = await run(launcher, container)
    assert (outcome.status, outcome.stdout) == (0, b"")  # it is found in the image's file


async def test_no_library_of_an_image_is_loaded_to_look_up_a_name(
    launcher: Launcher, bundle: Make, guests: Guests, tmp_path: Path
) -> None:
    """glibc takes the sources of names from /etc/nsswitch.conf, and each may be a library."""
    library = hostile(tmp_path)
    container = bundle("/main.wasm", "get", "nowhere", "80")
    container.put("main.wasm", guests.sockets().read_bytes())
    container.put("etc/nsswitch.conf", "hosts: hostile\n")
    bring(container, library, "hostile")
    outcome = await run(launcher, container)
    assert b"NATIVE" not in outcome.stdout
    assert b"resolve" in outcome.stdout  # it was asked, and is not known


async def test_a_name_in_the_containers_hosts_file_is_found_whatever_its_nsswitch_says(
    launcher: Launcher, bundle: Make, guests: Guests
) -> None:
    container = bundle("/main.wasm", "get", "pier", "1")
    container.put("main.wasm", guests.sockets().read_bytes())
    container.put("etc/hosts", "127.0.0.1 pier\n")
    container.put("etc/nsswitch.conf", "hosts: nothing\n")
    outcome = await run(launcher, container)
    assert b"finish-connect" in outcome.stdout  # found, though nobody listens there
