"""Linux containers that cannot be made, and those whose shim is killed."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests import peers
from tests.shim.linux import LinuxShim, Output, added, ended, installed_linux_shim, linux_shim

from wherry.shim.client import TaskError, delete_shim
from wherry.shim.messages import (
    CreateTaskRequest,
    CreateTaskResponse,
)
from wherry.shim.messages import Mount as WireMount
from wherry.shim.protobuf import Any
from wherry.shim.server.linux_options import RuncOptions
from wherry.shim.ttrpc.client import Client

pytestmark = pytest.mark.root


@pytest.fixture(params=["runc", "crun"])
async def shim(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LinuxShim]:
    async with installed_linux_shim(tmp_path, request.param, monkeypatch) as shim:
        yield shim


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
    assert "apt install crun" in str(error)


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


async def test_a_runtime_that_is_killed_while_it_makes_a_container(shim: LinuxShim) -> None:
    bundle = shim.bundle("a", "true")
    news = shim.fifo("news")
    script = f"echo $$ > {news}; exec sleep 1000"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
    bundle.config["hooks"] = {"createRuntime": [hook]}
    making = asyncio.ensure_future(shim.create(bundle))
    pid = int(await asyncio.to_thread(Path(news).read_text))
    runtime = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    state = list(shim.state.iterdir())
    for folder in state:  # as if it had been killed a moment before it wrote it
        shutil.rmtree(folder)
    assert bundle.cgroups
    os.kill(runtime, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TaskError):
        await making
    assert not bundle.is_mounted() and not bundle.cgroups


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
