"""Containers whose program is no Wasm, under the real shim and a real Linux runtime."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.runtime.bundles import make_bundle as make_wasm_bundle
from tests.shim.guests import BOTH
from tests.shim.linux import LinuxShim, Output, added, ended, installed_linux_shim

from wherry.oci.runtime import Memory, Pids, Resources
from wherry.shim.client import TaskError
from wherry.shim.messages import (
    TaskExecStarted,
    TaskExit,
    TaskOOM,
    TaskStart,
)
from wherry.shim.metrics import MetricsV1, MetricsV2

pytestmark = pytest.mark.root


@pytest.fixture(params=["runc", "crun"])
async def shim(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LinuxShim]:
    async with installed_linux_shim(tmp_path, request.param, monkeypatch) as shim:
        yield shim


async def killed(shim: LinuxShim, id: str) -> None:
    """End a container by force and forget it."""
    await shim.client.kill(id, signal.SIGKILL)
    await shim.client.wait(id)
    await shim.client.delete(id)


async def test_output_environment_and_exit_status(shim: LinuxShim) -> None:
    bundle = shim.bundle("a", "sh", "-c", "echo $NAME $(hostname) $$; echo err >&2; exit 7")
    exit, output = await shim.run(bundle)
    assert exit.status == 7
    assert sorted(output.splitlines()) == [b"err", b"value guest 1"]


async def test_nothing_is_left_of_a_container(shim: LinuxShim) -> None:
    bundle = shim.bundle("a", "sh", "-c", "echo kept > /file")
    await shim.run(bundle)
    assert not bundle.is_mounted() and not bundle.cgroups
    assert list(shim.state.iterdir()) == []
    assert {path.name for path in bundle.path.iterdir()} == {
        "config.json", "rootfs", "upper", "work",
    }  # fmt: skip
    assert (bundle.path / "upper" / "file").read_text() == "kept\n"


async def test_input_until_it_is_closed(shim: LinuxShim) -> None:
    fifo = shim.fifo("stdin")
    output = await shim.create(shim.bundle("a", "cat"), stdin=fifo)
    await shim.client.start("a")
    for word in (b"one", b"two"):
        Path(fifo).write_bytes(word)
        await output.until(word)
    await shim.client.close_io("a")
    assert (await shim.client.wait("a")).status == 0
    await shim.client.delete("a")


async def test_a_program_gets_its_signals(shim: LinuxShim) -> None:
    script = (
        "trap 'echo one' USR1; trap 'echo bye; exit 5' TERM; echo ready;"
        " while :; do sleep 1000 & wait $!; kill $!; done"
    )
    _, output = await shim.started("a", script)
    await output.until(b"ready")
    await shim.client.kill("a", signal.SIGUSR1)
    await output.until(b"one")
    await shim.client.kill("a", signal.SIGTERM)
    assert (await shim.client.wait("a")).status == 5
    assert b"bye" in output.so_far()
    await shim.client.delete("a")


async def test_a_program_that_a_signal_ends_exits_with_its_number(shim: LinuxShim) -> None:
    await shim.started("a", "sleep 1000")
    await shim.client.kill("a", signal.SIGKILL)
    assert (await shim.client.wait("a")).status == 137
    await shim.client.delete("a")


async def test_a_signal_for_all_reaches_the_others_too(shim: LinuxShim) -> None:
    # No `wait`: busybox's hangs, once in a while, when a child ends within a trap.
    script = (
        "trap 'got=3' USR1;"
        " sh -c 'trap \"echo child; exit\" USR1; echo ready; while :; do sleep 0.1; done' &"
        ' while [ -z "$got" ] || kill -0 $! 2>/dev/null; do sleep 0.1; done; exit $got'
    )
    _, output = await shim.started("a", script)
    await output.until(b"ready")
    await shim.client.kill("a", signal.SIGUSR1, all=True)
    assert (await shim.client.wait("a")).status == 3
    assert b"child" in output.so_far()
    await shim.client.delete("a")


async def test_a_terminal_is_the_containers_own(shim: LinuxShim) -> None:
    fifo = shim.fifo("keys")
    script = "tty; while read line; do echo got $line; stty size; done"
    bundle = shim.bundle("a", "sh", "-c", script)
    bundle.config["process"]["consoleSize"] = {"width": 91, "height": 17}
    output = await shim.create(bundle, stdin=fifo, terminal=True)
    await shim.client.start("a")
    await output.until(b"/dev/pts/0\r\n")
    Path(fifo).write_text("one\n")
    await output.until(b"got one\r\n17 91\r\n")
    await shim.client.resize("a", 80, 24)
    Path(fifo).write_text("two\n")
    await output.until(b"got two\r\n24 80\r\n")
    Path(fifo).write_text("\4")
    assert (await shim.client.wait("a")).status == 0
    await shim.client.delete("a")


async def test_what_is_typed_before_the_container_is_made_is_not_lost(shim: LinuxShim) -> None:
    fifo = shim.fifo("keys")
    keys = os.open(fifo, os.O_RDWR)
    os.write(keys, b"early\n")
    bundle = shim.bundle("a", "sh", "-c", "read line; echo got $line")
    output = await shim.create(bundle, stdin=fifo, terminal=True)
    await shim.client.start("a")
    await output.until(b"got early")
    await shim.client.wait("a")
    await shim.client.delete("a")
    os.close(keys)


async def test_further_processes(shim: LinuxShim) -> None:
    bundle, _ = await shim.started("a", "echo 1 > /mark; sleep 1000")
    output = await added(shim, "a", "one", "sh", "-c", "cat /mark; hostname; echo err >&2; exit 9")
    assert (await shim.client.wait("a", "one")).status == 9
    assert sorted(output.so_far().split()) == [b"1", b"err", b"guest"]
    assert (await shim.client.delete("a", "one")).status == 9

    fifo = shim.fifo("stdin")
    output = await added(shim, "a", "two", "cat", stdin=fifo)
    Path(fifo).write_text("word")
    await output.until(b"word")
    pid = (await shim.client.state("a", "two")).pid
    assert pid in await shim.client.pids("a")
    await shim.client.close_io("a", "two")
    assert (await shim.client.wait("a", "two")).status == 0
    await shim.client.delete("a", "two")

    await added(shim, "a", "three", "sleep", "1000")
    await shim.client.kill("a", signal.SIGTERM, exec_id="three")
    assert (await shim.client.wait("a", "three")).status == 143
    await shim.client.delete("a", "three")
    await killed(shim, "a")
    assert not bundle.cgroups and list(shim.state.iterdir()) == []


async def test_a_further_process_with_a_terminal(shim: LinuxShim) -> None:
    await shim.started("a", "sleep 1000")
    fifo = shim.fifo("keys")
    script = "tty; read line; stty size; exit 4"
    output = await added(shim, "a", "t", "sh", "-c", script, terminal=True, stdin=fifo)
    await output.until(b"/dev/pts/0")
    await shim.client.resize("a", 77, 11, "t")
    Path(fifo).write_text("\n")
    assert (await shim.client.wait("a", "t")).status == 4
    assert b"11 77" in output.so_far()
    await shim.client.delete("a", "t")
    await killed(shim, "a")


async def test_further_processes_end_with_the_container(shim: LinuxShim) -> None:
    await shim.started("a", "sleep 1000")
    await added(shim, "a", "more", "sleep", "1000")
    await shim.client.kill("a", signal.SIGKILL)
    assert (await shim.client.wait("a")).status == 137
    assert (await shim.client.state("a", "more")).exit_status == 137
    ends = [await shim.next_event(TaskExit) for _ in range(2)]
    assert [end.id for end in ends if isinstance(end, TaskExit)] == ["more", "a"]
    await shim.client.delete("a")


async def test_a_further_process_that_cannot_be_is_told_with_its_reason(shim: LinuxShim) -> None:
    await shim.started("a", "sleep 1000")
    with pytest.raises(TaskError, match="nothing-of-this-name") as failure:
        await added(shim, "a", "none", "nothing-of-this-name")
    assert failure.value.code == "NOT_FOUND"
    assert (await shim.client.state("a", "none")).exit_status == 127
    await shim.client.delete("a", "none")
    await killed(shim, "a")


async def test_events_are_in_order(shim: LinuxShim) -> None:
    await shim.started("a", "sleep 1000")
    await shim.next_event(TaskStart)
    await added(shim, "a", "quick", "true")
    await shim.client.wait("a", "quick")
    started = await shim.next_event(TaskExecStarted)
    gone = await shim.next_event(TaskExit)
    assert isinstance(started, TaskExecStarted) and isinstance(gone, TaskExit)
    assert (gone.id, gone.pid, gone.exit_status) == ("quick", started.pid, 0)
    await killed(shim, "a")


async def test_pause_resume_processes_limits_and_statistics(shim: LinuxShim) -> None:
    bundle, output = await shim.started("a", "echo ready; sleep 1000 & sleep 1001")
    await output.until(b"ready")
    await shim.client.pause("a")
    assert (await shim.client.state("a")).status == "paused"
    with pytest.raises(TaskError, match="paused"):
        await added(shim, "a", "more", "true")
    await shim.client.resume("a")
    assert (await shim.client.state("a")).status == "running"
    await shim.client.update("a", Resources(memory=Memory(limit=64 << 20), pids=Pids(limit=77)))
    metrics = await shim.client.stats("a")
    assert isinstance(metrics, MetricsV1 | MetricsV2) and metrics.pids is not None
    if isinstance(metrics, MetricsV1):
        assert metrics.memory is not None and metrics.memory.usage is not None
        limit = metrics.memory.usage.limit
    else:
        assert metrics.memory is not None
        limit = metrics.memory.usage_limit
    assert (limit, metrics.pids.limit) == (64 << 20, 77)
    assert metrics.pids.current >= 2 and len(await shim.client.pids("a")) >= 2
    await shim.client.pause("a")
    await killed(shim, "a")
    assert not bundle.cgroups


async def test_a_killed_child_is_told_as_out_of_memory(shim: LinuxShim) -> None:
    bundle = shim.bundle("a", "sh", "-c", "tail /dev/zero; echo lived; sleep 1000")
    bundle.config["linux"]["resources"] = {"memory": {"limit": 24 << 20}}
    bundle.config["mounts"].append(
        {"destination": "/dev/zero", "type": "bind", "source": "/dev/zero", "options": ["bind"]}
    )
    output = await shim.create(bundle)
    await shim.client.start("a")
    told = await shim.next_event(TaskOOM)
    assert isinstance(told, TaskOOM) and told.container_id == "a"
    await output.until(b"lived")
    await killed(shim, "a")


async def test_twenty_at_once(shim: LinuxShim) -> None:
    bundles = [shim.bundle(f"c{n}", "sh", "-c", f"echo {n}; exit {n}") for n in range(20)]
    results = await asyncio.gather(*(shim.run(bundle) for bundle in bundles))
    assert [(exit.status, output) for exit, output in results] == [
        (n, f"{n}\n".encode()) for n in range(20)
    ]
    assert list(shim.state.iterdir()) == []


async def test_wasm_and_linux_under_one_shim(shim: LinuxShim) -> None:
    await shim.started("linux", "sleep 1000")
    wasm = make_wasm_bundle(shim.folder / "wasm")
    wasm.put("main.wasm", BOTH)
    path, stdout, stderr = shim.log("wasm")
    request = wasm.request(0, 1, 2)
    for n in range(3):
        id = f"wasm{n}"
        await shim.client.create(
            id=id, bundle=str(wasm.path), rootfs=request.rootfs, stdout=stdout, stderr=stderr
        )
        await shim.client.start(id)
        assert (await shim.client.wait(id)).status == 7
        await shim.client.delete(id)
    assert Output(path).so_far().count(b"to stdout") == 3
    assert (await shim.client.state("linux")).status == "running"
    await killed(shim, "linux")


async def test_containers_of_a_pod_share_namespaces(shim: LinuxShim) -> None:
    first = shim.bundle("first", "sleep", "1000")
    first.config["hostname"] = "pod"
    await shim.create(first)
    await shim.client.start("first")
    (pid, *_) = await shim.client.pids("first")
    second = shim.bundle("second", "sh", "-c", "hostname; exit 3")
    del second.config["hostname"]
    for namespace in second.config["linux"]["namespaces"]:
        if namespace["type"] in ("network", "ipc", "uts"):
            kind = {"network": "net"}.get(namespace["type"], namespace["type"])
            namespace["path"] = f"/proc/{pid}/ns/{kind}"
    exit, output = await shim.run(second)
    assert (exit.status, output) == (3, b"pod\n")
    await killed(shim, "first")


async def test_a_user_namespace(shim: LinuxShim) -> None:
    bundle = shim.bundle("a", "sh", "-c", "id -u; cat /proc/self/uid_map")
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    bundle.config["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    bundle.config["mounts"][2]["options"].remove("gid=5")
    for folder in (bundle.path, *bundle.path.parents[:-2], bundle.layer):
        folder.chmod(0o755)
    exit, output = await shim.run(bundle)
    assert (exit.status, output.split()) == (0, [b"0", b"0", b"100000", b"1000"])


async def test_hooks_run_once(shim: LinuxShim) -> None:
    ran = shim.folder / "ran"
    bundle = shim.bundle("a", "true")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >/dev/null; echo $0 >> {ran}"]}
    names = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    bundle.config["hooks"] = {
        name: [hook | {"args": [*hook["args"], name]}]
        for name in names
        if name != "createContainer"
    }
    await shim.run(bundle)
    assert ran.read_text().split() == ["prestart", "createRuntime", "poststart", "poststop"]


async def test_a_mount_that_guests_may_not_have_is_a_linux_containers_own(shim: LinuxShim) -> None:
    bundle = shim.bundle("a", "sh", "-c", "cat /run/word")
    (bundle.layer / "run").mkdir()
    (bundle.layer / "run" / "word").write_text("copied\n")
    bundle.config["mounts"].append(
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    )
    exit, output = await shim.run(bundle)
    assert (exit.status, output) == (0, b"copied\n")


async def test_what_shares_the_hosts_processes_ends_with_its_first(shim: LinuxShim) -> None:
    bundle = shim.bundle("a", "sh", "-c", "sleep 1000 & echo $!; exit 6")
    bundle.config["linux"]["namespaces"] = [
        one for one in bundle.config["linux"]["namespaces"] if one["type"] != "pid"
    ]
    output = await shim.create(bundle)
    await shim.client.start("a")
    assert (await shim.client.wait("a")).status == 6
    await ended(int((await output.until(b"\n")).split()[0]))
    await shim.client.delete("a")
    assert not bundle.cgroups
