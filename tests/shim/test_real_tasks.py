"""Containers of the real runtime under a shim of our own, many at once and through its client."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cgroups import cgroups
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle, make_bundle
from tests.shim.containerds import install_shim
from tests.shim.guests import ALL

from wherry.shim.client import EventsServer, Exit, TaskClient, start_shim
from wherry.shim.client.log import LogReader

pytestmark = pytest.mark.root


@dataclass
class RealShim:
    """A server of the real command, and its client."""

    folder: Path
    client: TaskClient
    events: EventsServer

    def bundle(self, guest: str) -> Bundle:
        bundle = make_bundle(self.folder / f"bundle-{len(os.listdir(self.folder))}")
        bundle.put("main.wasm", ALL[guest])
        return bundle

    async def create(self, id: str, guest: str, stdin: str = "") -> Path:
        """Create a container that logs; the path of its log."""
        bundle = self.bundle(guest)
        request = bundle.request(0, 1, 2)
        log = bundle.path / "log"
        await self.client.create(
            id=id,
            bundle=str(bundle.path),
            rootfs=request.rootfs,
            stdin=stdin,
            stdout=f"wherry-log://{log}?stream=stdout",
            stderr=f"wherry-log://{log}?stream=stderr",
        )
        return log

    async def run(self, id: str, guest: str) -> tuple[Exit, bytes]:
        log = await self.create(id, guest)
        await self.client.start(id)
        exit = await self.client.wait(id)
        await self.client.delete(id)
        return exit, b"".join(record.data for record in LogReader(log).records())


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[RealShim]:
    install_shim(tmp_path / "bin", tmp_path / "run", tmp_path / "data")
    async with EventsServer(tmp_path / "events") as events:
        address = await start_shim(
            runtime=str(tmp_path / "bin" / "containerd-shim-wherry-v1"),
            namespace="real",
            id="first",
            bundle=tmp_path,
            events_address=str(events.path),
        )
        shim = RealShim(tmp_path, await TaskClient.connect(address), events)
        yield shim
        if not shim.client.closed.is_set():
            pid = await shim.client.shim_pid("")
            await shim.client.shutdown(now=True)
            try:
                await asyncio.wait_for(shim.client.closed.wait(), 30)
            except TimeoutError:  # a test that failed has left tasks
                os.kill(pid, signal.SIGKILL)


async def test_output_and_exit_status(real: RealShim) -> None:
    exit, output = await real.run("a", "both")
    assert (exit.status, output) == (7, b"to stdout\nto stderr\n")


async def test_input_until_it_is_closed(real: RealShim) -> None:
    fifo = real.folder / "stdin"
    os.mkfifo(fifo)
    log = await real.create("a", "echo", stdin=str(fifo))
    await real.client.start("a")
    records = LogReader(log).follow()
    for word in ("one", "two"):
        fifo.write_text(word)
        assert (await anext(records)).data == word.encode()
    await real.client.close_io("a")
    assert [record async for record in records] == []
    assert (await real.client.wait("a")).status == 0
    await real.client.delete("a")


async def test_two_hundred_at_once(real: RealShim) -> None:
    results = await asyncio.gather(*(real.run(str(n), "hello") for n in range(200)))
    assert {(exit.status, output) for exit, output in results} == {(0, b"hello\n")}


async def test_a_hundred_that_stay_cost_at_most_four_descriptors_each(real: RealShim) -> None:
    pid = await real.client.shim_pid("")
    await real.run("first", "hello")
    before = len(os.listdir(f"/proc/{pid}/fd"))
    ids = [str(n) for n in range(100)]
    await asyncio.gather(*(real.create(id, "spin") for id in ids))
    logs = 100  # written a moment ago; no more than 256 of them are ever open
    assert len(os.listdir(f"/proc/{pid}/fd")) - before <= 4 * 100 + logs
    await asyncio.gather(*(real.client.kill(id, signal.SIGTERM) for id in ids))
    exits = await asyncio.gather(*(real.client.delete(id) for id in ids))
    assert {exit.status for exit in exits} == {143}
    assert len(os.listdir(f"/proc/{pid}/fd")) == before


async def test_containers_die_with_their_shim(real: RealShim) -> None:
    await real.create("a", "spin")
    await real.client.start("a")
    (pid,) = await real.client.pids("a")
    pidfd = os.pidfd_open(pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, ended.set)
    os.kill(await real.client.shim_pid("a"), signal.SIGKILL)
    await real.client.closed.wait()
    await ended.wait()
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
    for parent in cgroups(f"wherry-test-{os.getpid()}"):
        for cgroup in parent.iterdir():
            if cgroup.is_dir():
                cgroup.rmdir()


async def test_a_module_that_compiles_long_keeps_nobody_waiting(real: RealShim) -> None:
    function = "(func (param i32) (result i32) local.get 0 " + "i32.const 3 i32.mul " * 4000 + ")"
    await real.run("warm", "hello")
    bundle = real.bundle("hello")
    bundle.put("main.wasm", f'(module (func (export "_start")) {function * 15})')
    request = bundle.request(0, 1, 2)
    slow = asyncio.ensure_future(
        real.client.create(id="slow", bundle=str(bundle.path), rootfs=request.rootfs)
    )
    served = 0
    while not slow.done():
        assert (await real.run(f"beside-{served}", "hello"))[0].status == 0
        served += 1
    assert served > 1
    await slow
    await real.client.delete("slow")


async def test_a_container_that_fills_its_disk_ends_alone(real: RealShim, guests: Guests) -> None:
    """Its disk is the bundle's: what the shim keeps there, the log, is on it as well."""
    small = real.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "small", small], check=True)
    try:
        bundle = make_bundle(small / "bundle", "/main.wasm", "fill", "/big", str(64 << 20))
        bundle.put("main.wasm", guests.toolbox().read_bytes())
        await real.client.create(
            id="greedy",
            bundle=str(bundle.path),
            rootfs=bundle.request(0, 1, 2).rootfs,
            stdout=f"wherry-log://{bundle.path}/log?stream=stdout",
            stderr=f"wherry-log://{bundle.path}/log?stream=stderr",
        )
        await real.client.start("greedy")
        assert (await real.client.wait("greedy")).status == 1
        assert os.statvfs(small).f_bavail == 0, "its disk is not full"
        exit, output = await real.run("other", "hello")
        assert (exit.status, output) == (0, b"hello\n")
        await real.client.delete("greedy")
    finally:
        subprocess.run(["umount", small], check=True)
