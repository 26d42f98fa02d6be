"""Sockets in every kind of process that a guest runs in."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.runtime.bundles import WAITS_FOR_STDIN, Bundle, reap, run
from tests.runtime.test_exec import command, running
from tests.runtime.test_exec import run as run_beside

from wherry.runtime import Launcher

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]

MONOLOGUE = (Path(__file__).parent / "monologue.wat").read_text()
WAITS = MONOLOGUE.replace("call $connect", "call $nothing").replace(
    "(func $must", "(func $nothing (param i32 i32 i32) (result i32) (i32.const 0)) (func $must"
)
"""The same, but it never connects: it waits for a connection for ever."""
LESS_RIGHTS = [
    pytest.param(["unshare", "--user", "--map-root-user"], id="user namespace"),
    pytest.param(["setpriv", "--bounding-set=-sys_admin"], id="no namespaces"),
]


def of_files(container: Bundle) -> str:
    """The bundle's path, with the guest in a root that nobody mounts."""
    (container.path / "rootfs" / "main.wasm").write_text(MONOLOGUE)
    (container.path / "config.json").write_bytes(msgspec.json.encode(container.config))
    return str(container.path)


async def test_in_a_container(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.put("main.wasm", MONOLOGUE)
    outcome = await run(launcher, container)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, b"hello\n", b"")


async def test_in_a_further_process_with_limit_and_working_directory(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle()
    container.put("talk.wat", MONOLOGUE)
    container.config["linux"]["resources"] = {"memory": {"limit": 64 << 20}}
    async with running(launcher, container) as first:
        for workdir in ("/", "/tmp"):
            wanted = command("/talk.wat", cwd=workdir)
            container.put("tmp/file", "")
            outcome = await run_beside(launcher, first, container, wanted)
            assert (outcome.status, outcome.stdout, outcome.stderr) == (0, b"hello\n", b"")


async def test_a_signal_reaches_the_shim_while_the_guest_waits_for_a_connection(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle()
    container.put("main.wasm", WAITS)
    process = await launcher.create(container.request(0, 1, 2))
    came: asyncio.Queue[int] = asyncio.Queue()
    await process.start(came.put_nowait)
    await waits_in(process.pid, "accept")
    os.kill(process.pid, signal.SIGTERM)
    assert await asyncio.wait_for(came.get(), 60) == signal.SIGTERM
    signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
    assert await reap(process) == -signal.SIGKILL


def test_a_signal_ends_the_runtimes_container_while_its_guest_waits(
    bundle: Make, tmp_path: Path
) -> None:
    container = bundle()
    of_files(container)
    (container.path / "rootfs" / "main.wasm").write_text(WAITS)
    program = "from wherry.runtime.command import main; main()"
    pid_file = tmp_path / "pid"
    argv = [sys.executable, "-c", program, "run", "--pid-file", str(pid_file)]
    environment = {**os.environ, "WHERRY_ROOT": str(tmp_path), "WHERRY_RUNTIME_COLD": "1"}
    with subprocess.Popen(
        [*argv, "--bundle", str(container.path), "a"], env=environment
    ) as command:
        while not (pid_file.exists() and pid_file.read_text()):
            os.sched_yield()
        asyncio.run(waits_in(int(pid_file.read_text()), "accept"))
        command.send_signal(signal.SIGTERM)
        assert command.wait(60) == 128 + signal.SIGTERM


async def waits_in(pid: int, call: str) -> None:
    """Until the process is in a system call of the kernel's that is named so."""
    while call not in Path(f"/proc/{pid}/wchan").read_text():
        await asyncio.sleep(0)


@pytest.mark.parametrize("within", [pytest.param([], id="root"), *LESS_RIGHTS])
def test_by_the_runtimes_command(bundle: Make, tmp_path: Path, within: list[str]) -> None:
    container = bundle()
    container.config["process"]["cwd"] = "/work"
    program = "from wherry.runtime.command import main; main()"
    argv = [*within, sys.executable, "-c", program, "run", "--bundle", of_files(container), "a"]
    environment = {**os.environ, "WHERRY_ROOT": str(tmp_path), "WHERRY_RUNTIME_COLD": "1"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


@pytest.mark.parametrize("within", LESS_RIGHTS)
async def test_in_a_further_process_with_less_rights(bundle: Make, within: list[str]) -> None:
    container = bundle()
    path = of_files(container)
    (container.path / "rootfs" / "talk.wat").write_text(MONOLOGUE)
    (container.path / "rootfs" / "main.wasm").write_text(WAITS_FOR_STDIN)
    argv = [*within, sys.executable, "-m", "tests.runtime.exec_once", path, "--", "/talk.wat"]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True)
    assert done.stdout == "0 hello\n\n", done.stderr
