"""Further processes of the real runtime under a shim of our own, through its client."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest
from tests.runtime.bundles import Bundle
from tests.shim import test_real_tasks
from tests.shim.guests import ALL
from tests.shim.test_real_tasks import RealShim

from wherry.oci import encode
from wherry.oci.runtime import Process
from wherry.shim.client import TaskError
from wherry.shim.client.log import LogReader

pytestmark = pytest.mark.root
real = test_real_tasks.real


async def start(real: RealShim, id: str, bundle: Bundle | None = None) -> Bundle:
    """Run a container that computes for ever, with all guests in its root."""
    bundle = bundle or real.bundle("spin")
    for name, text in ALL.items():
        bundle.put(f"{name}.wat", text)
    request = bundle.request(0, 1, 2)
    await real.client.create(id=id, bundle=str(bundle.path), rootfs=request.rootfs)
    await real.client.start(id)
    return bundle


def process(guest: str) -> bytes:
    return encode(Process(args=[f"/{guest}.wat"], cwd="/"))


async def end(real: RealShim, id: str) -> None:
    await real.client.kill(id, signal.SIGKILL)
    await real.client.wait(id)
    await real.client.delete(id)


async def test_output_and_exit_status(real: RealShim) -> None:
    bundle = await start(real, "a")
    log = bundle.path / "log"
    stdout, stderr = (f"wherry-log://{log}?stream={name}" for name in ("stdout", "stderr"))
    await real.client.exec("a", "e", process("both"), stdout=stdout, stderr=stderr)
    await real.client.start("a", "e")
    assert (await real.client.wait("a", "e")).status == 7
    assert (await real.client.delete("a", "e")).status == 7
    records = {(record.stream, record.data) for record in LogReader(log).records()}
    assert records == {(1, b"to stdout\n"), (2, b"to stderr\n")}
    await end(real, "a")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL", "SIGHUP", "SIGUSR1"])
async def test_a_signal_ends_it_at_once_and_is_reported(real: RealShim, name: str) -> None:
    await start(real, "a")
    await real.client.exec("a", "e", process("spin"))
    await real.client.start("a", "e")
    number = getattr(signal, name)
    await real.client.kill("a", number, exec_id="e")
    assert (await real.client.wait("a", "e")).status == 128 + number
    assert (await real.client.state("a")).status == "running"
    await end(real, "a")


@pytest.mark.parametrize("own_pids", [True, False])
async def test_none_is_left_when_the_container_has_ended(real: RealShim, own_pids: bool) -> None:
    bundle = real.bundle("spin")
    if not own_pids:  # those of the host: no kernel ends its processes with its first
        bundle.config["linux"]["namespaces"].remove({"type": "pid"})
    await start(real, "a", bundle)
    pids = []
    for id in ("e", "f", "g"):
        await real.client.exec("a", id, process("spin"))
        pids.append(await real.client.start("a", id))
    assert sorted(await real.client.pids("a"))[1:] == sorted(pids)
    await real.client.kill("a", signal.SIGTERM)
    assert (await real.client.wait("a")).status == 143
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    for id in ("e", "f", "g"):
        assert (await real.client.wait("a", id)).status == 137
    await real.client.delete("a")


async def test_they_die_with_their_shim(real: RealShim) -> None:
    await start(real, "a")
    await real.client.exec("a", "e", process("spin"))
    pid = await real.client.start("a", "e")
    (first,) = set(await real.client.pids("a")) - {pid}
    pidfds = [os.pidfd_open(one) for one in (pid, first)]
    os.kill(await real.client.shim_pid("a"), signal.SIGKILL)
    await real.client.closed.wait()
    for pidfd in pidfds:  # the first of a pid namespace is the last to go
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, ended.set)
        await ended.wait()
        asyncio.get_running_loop().remove_reader(pidfd)
        with contextlib.suppress(ChildProcessError):  # an orphan that came to us
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
    for folder, groups, _ in os.walk("/sys/fs/cgroup", topdown=False):
        if os.path.basename(folder) == f"wherry-test-{os.getpid()}":
            for group in groups:
                os.rmdir(f"{folder}/{group}")


async def test_a_container_that_was_not_started_takes_one_too(real: RealShim) -> None:
    bundle = real.bundle("hello")
    request = bundle.request(0, 1, 2)
    await real.client.create(id="a", bundle=str(bundle.path), rootfs=request.rootfs)
    spec = encode(Process(args=["/main.wasm"], cwd="/"))
    await real.client.exec("a", "e", spec)
    await real.client.start("a", "e")
    assert (await real.client.wait("a", "e")).status == 0
    await real.client.start("a")
    assert (await real.client.wait("a")).status == 0
    await real.client.delete("a")


async def test_what_cannot_run_leaves_the_container_as_it_was(real: RealShim) -> None:
    await start(real, "a")
    shim = await real.client.shim_pid("a")
    await real.client.exec("a", "warm", process("nothing"))
    with pytest.raises(TaskError, match="no such file or directory"):
        await real.client.start("a", "warm")
    before = len(os.listdir(f"/proc/{shim}/fd"))
    for number in range(20):
        guest = ("nothing", "nonsense")[number % 2]
        await real.client.exec("a", str(number), process(guest))
        with pytest.raises(TaskError):
            await real.client.start("a", str(number))
        await real.client.delete("a", str(number))
    assert len(os.listdir(f"/proc/{shim}/fd")) <= before
    assert len(await real.client.pids("a")) == 1
    await end(real, "a")


async def test_a_pause_is_for_them_too(real: RealShim) -> None:
    await start(real, "a")
    (first,) = await real.client.pids("a")
    pids = []
    for id in ("before", "after"):
        await real.client.exec("a", id, process("spin"))
        pids.append(await real.client.start("a", id))
        await real.client.pause("a")
        assert (await real.client.state("a", id)).status == "paused"
        with pytest.raises(TaskError, match="is paused"):
            await real.client.exec("a", "late", process("hello"))
        await real.client.resume("a")
    groups = [Path(f"/proc/{pid}/cgroup").read_text() for pid in (first, *pids)]
    assert groups[0] == groups[1] == groups[2]
    await end(real, "a")
