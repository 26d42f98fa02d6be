"""Containers whose program is no Wasm, under the real shim and a real Linux runtime."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests import peers
from tests.conftest import without
from tests.runtime.bundles import make_bundle as make_wasm_bundle
from tests.shim.guests import BOTH
from tests.shim.linux import LinuxShim, Output, ended, linux_shim

from wherry.oci.runtime import Memory, Pids, Resources
from wherry.shim.client import TaskError, delete_shim
from wherry.shim.messages import (
    CreateTaskRequest,
    CreateTaskResponse,
    TaskExecStarted,
    TaskExit,
    TaskOOM,
    TaskStart,
)
from wherry.shim.messages import Mount as WireMount
from wherry.shim.metrics import MetricsV1, MetricsV2
from wherry.shim.protobuf import Any
from wherry.shim.server.linux_options import RuncOptions
from wherry.shim.ttrpc.client import Client

pytestmark = pytest.mark.root


_CRUN = """#!/bin/sh
exec unshare -m sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec {crun} "$@"' crun "$@"
"""
"""crun wants nothing of a host that has both versions of cgroups: it sees but one of them."""


@pytest.fixture(params=["runc", "crun"])
async def shim(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LinuxShim]:
    try:
        crun = peers.program("crun")
        peers.program("runc")
        peers.program("busybox")
    except peers.PeerMissing as error:
        without(str(error))
    (tmp_path / "path").mkdir()
    wrapper = tmp_path / "path" / "crun"
    wrapper.write_text(_CRUN.format(crun=crun))
    wrapper.chmod(0o755)
    path = f"{tmp_path}/path:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    monkeypatch.setenv("PATH", path)
    async with linux_shim(tmp_path, request.param) as shim:
        yield shim


async def added(
    shim: LinuxShim, id: str, exec_id: str, *args: str, terminal: bool = False, stdin: str = ""
) -> Output:
    """A further process of a container, started; what it writes."""
    path, stdout, stderr = shim.log(exec_id)
    spec = {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    await shim.client.exec(
        id,
        exec_id,
        json.dumps(spec).encode(),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        terminal=terminal,
    )
    await shim.client.start(id, exec_id)
    return Output(path)


async def killed(shim: LinuxShim, id: str) -> None:
    """End a container by force and forget it."""
    await shim.client.kill(id, signal.SIGKILL)
    await shim.client.wait(id)
    await shim.client.delete(id)


async def refusal(shim: LinuxShim, *args: str, **annotations: str) -> TaskError:
    """Why a container cannot be created."""
    bundle = shim.bundle("refused", *args)
    bundle.config["annotations"] |= annotations
    with pytest.raises(TaskError) as refused:
        await shim.create(bundle)
    assert not bundle.is_mounted() and not bundle.cgroups
    assert {path.name for path in bundle.path.iterdir()} == {
        "config.json", "rootfs", "upper", "work",
    }  # fmt: skip
    return refused.value


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
    script = (
        "sh -c 'trap \"echo child; exit\" USR1; echo ready; while :; do sleep 1000 & wait; done' &"
        " trap 'wait; exit 3' USR1; wait"
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


async def test_a_missing_program_is_not_found(shim: LinuxShim) -> None:
    error = await refusal(shim, "/bin/nothing")
    assert error.code == "NOT_FOUND" and "/bin/nothing" in str(error)


async def test_a_damaged_module_is_no_linux_program(shim: LinuxShim) -> None:
    (shim.folder / "layer").mkdir()
    (shim.folder / "layer" / "app").write_bytes(b"\0asm\1\0\0\0\1\5")
    error = await refusal(shim, "/app")
    assert error.code == "INVALID_ARGUMENT" and "not a valid WebAssembly program" in str(error)


async def test_the_runtimes_own_reason_is_told_on_one_line(shim: LinuxShim) -> None:
    bundle = shim.bundle("a", "true")
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NONSENSE", "hard": 1, "soft": 1}]
    with pytest.raises(TaskError, match="RLIMIT_NONSENSE") as refused:
        await shim.create(bundle)
    assert str(refused.value).startswith(f"{shim.runtime} create: ") and "\n" not in str(
        refused.value
    )
    assert not bundle.is_mounted() and not bundle.cgroups


async def test_a_container_may_choose_between_known_runtimes_only(shim: LinuxShim) -> None:
    error = await refusal(shim, "true", **{"io.wherry.runtime.linux": "/bin/sh"})
    assert "expected runc or crun" in str(error)


async def test_without_a_linux_runtime_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "path").mkdir()
    for name in ("busybox", "readlink"):
        (tmp_path / "path" / name).symlink_to(peers.program(name))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    async with linux_shim(tmp_path) as shim:
        bundle = shim.bundle("refused", "true")
        del bundle.config["annotations"]
        with pytest.raises(TaskError) as refused:
            await shim.create(bundle)
    error = refused.value
    assert error.code == "INVALID_ARGUMENT"
    assert "/bin/true is no WebAssembly program" in str(error)
    assert "install runc or crun" in str(error)


async def test_the_runtime_that_containerd_names(shim: LinuxShim) -> None:
    """Here one that makes no cgroups."""
    crun = shim.folder / "path" / "crun"
    wrapper = shim.folder / "own-runtime"
    wrapper.write_text(f'#!/bin/sh\nexec {crun} --cgroup-manager=disabled "$@"\n')
    wrapper.chmod(0o755)
    bundle = shim.bundle("a", "sh", "-c", "tty; read line; exit 8")
    bundle.config["process"]["terminal"] = True
    del bundle.config["linux"]["cgroupsPath"]
    del bundle.config["annotations"]
    bundle.write()
    path, stdout, _ = shim.log("a")
    fifo = shim.fifo("keys")
    shim.made.append("a")
    request = CreateTaskRequest(
        id="a",
        bundle=str(bundle.path),
        rootfs=[
            WireMount(type=mount.type, source=mount.source, options=mount.options or ())
            for mount in bundle.rootfs
        ],
        terminal=True,
        stdin=fifo,
        stdout=stdout,
        options=Any(
            type_url="containerd.runc.v1.Options",
            value=RuncOptions(binary_name=str(wrapper)).encode(),
        ),
    )
    client = await Client.connect(await socket_of(shim))
    await client.call("containerd.task.v2.Task", "Create", request, CreateTaskResponse)
    client.close()
    await shim.client.start("a")
    await Output(path).until(b"/dev/pts/0")
    output = await added(shim, "a", "more", "sh", "-c", "echo more; exit 2")
    assert (await shim.client.wait("a", "more")).status == 2
    assert output.so_far() == b"more\n"
    assert (await shim.client.state("a")).pid in await shim.client.pids("a")
    Path(fifo).write_text("\n")
    assert (await shim.client.wait("a")).status == 8
    await shim.client.delete("a")
    assert not bundle.is_mounted() and list(shim.state.iterdir()) == []


async def socket_of(shim: LinuxShim) -> str:
    (socket,) = (shim.folder / "run" / "shim").glob("*.sock")
    return str(socket)


async def kill_shim(shim: LinuxShim) -> None:
    os.kill(await shim.client.shim_pid(""), signal.SIGKILL)
    await shim.client.closed.wait()


async def delete_by_command(shim: LinuxShim, id: str) -> None:
    await delete_shim(
        runtime=str(shim.folder / "bin" / "containerd-shim-wherry-v1"),
        namespace="linux",
        id=id,
        bundle=shim.folder / id,
        address=str(shim.events.path),
    )


@pytest.mark.parametrize("paused", [False, True])
async def test_after_a_shim_was_killed_delete_leaves_nothing(shim: LinuxShim, paused: bool) -> None:
    bundle, output = await shim.started("a", "echo ready; sleep 1000 & sleep 1001")
    await output.until(b"ready")
    await added(shim, "a", "more", "sleep", "1002")
    pids = await shim.client.pids("a")
    assert len(pids) >= 3
    if paused:
        await shim.client.pause("a")
    await kill_shim(shim)
    assert bundle.is_mounted() and bundle.cgroups
    await delete_by_command(shim, "a")
    for pid in pids:
        await ended(pid)
    assert not bundle.is_mounted() and not bundle.cgroups
    assert list(shim.state.iterdir()) == []
    assert (
        not list(bundle.path.glob("wherry-*[!.]*")) or not (bundle.path / "wherry-linux").exists()
    )


async def test_a_shim_that_is_killed_while_it_makes_a_container(shim: LinuxShim) -> None:
    bundle = shim.bundle("a", "true")
    news = shim.fifo("news")
    script = f"echo $$ > {news}; exec sleep 1000"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
    bundle.config["hooks"] = {"createRuntime": [hook]}
    making = asyncio.ensure_future(shim.create(bundle))
    pid = int(await asyncio.to_thread(Path(news).read_text))
    runtime = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    await kill_shim(shim)
    with pytest.raises(TaskError):
        await making
    await ended(runtime)
    await delete_by_command(shim, "a")
    os.kill(pid, signal.SIGKILL)  # it is runc that starts hooks, and leaves them alone
    assert not bundle.is_mounted() and not bundle.cgroups
    assert list(shim.state.iterdir()) == []


async def test_a_shim_that_is_killed_before_its_runtime_has_made_anything(shim: LinuxShim) -> None:
    news = shim.fifo("news")
    program = shim.folder / "path" / shim.runtime
    real = shim.folder / "path" / "real"
    if program.exists():
        program.rename(real)
    else:
        real.symlink_to(peers.program(shim.runtime))
    hang = f"echo $$ > {news}; exec sleep 1000"
    program.write_text(f'#!/bin/sh\ncase "$*" in *create*) {hang} ;; esac\nexec {real} "$@"\n')
    program.chmod(0o755)
    bundle = shim.bundle("a", "true")
    making = asyncio.ensure_future(shim.create(bundle))
    pid = int(await asyncio.to_thread(Path(news).read_text))
    await kill_shim(shim)
    with pytest.raises(TaskError):
        await making
    await ended(pid)
    assert bundle.is_mounted()
    await delete_by_command(shim, "a")
    assert not bundle.is_mounted() and not bundle.cgroups
    assert not (bundle.path / "wherry-linux").is_symlink()


async def test_delete_of_what_was_deleted_is_no_error(shim: LinuxShim) -> None:
    await shim.run(shim.bundle("a", "true"))
    await delete_by_command(shim, "a")


def test_orphans_that_nobody_waits_for_are_reaped() -> None:
    script = """
import asyncio, os, sys
from wherry.runtime.linux.orphans import Orphans

async def main():
    awaited = set()
    orphans = Orphans(lambda pid: pid in awaited, pause=0.01)
    reader, writer = os.pipe()
    mine = os.posix_spawn("/bin/true", ["true"], {})
    awaited.add(mine)
    # A shell that ends at once, and leaves a process behind that ends with the pipe.
    shell = os.posix_spawn(
        "/bin/sh", ["sh", "-c", "sh -c 'read -r line' & exec true"], {},
        file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)],
    )
    os.waitpid(shell, 0)
    os.close(writer)
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            left = [int(pid) for pid in file.read().split()]
        if left == [mine]:
            break
        await asyncio.sleep(0.01)
    assert os.waitpid(mine, 0)[1] == 0
    orphans.close()
    print("all reaped")

asyncio.run(main())
"""
    import sys

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("all reaped\n", "")
