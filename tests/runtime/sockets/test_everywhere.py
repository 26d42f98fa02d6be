"""Sockets in every kind of process that a guest runs in."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.runtime.bundles import WAITS_FOR_STDIN, Bundle, run
from tests.runtime.test_exec import command, running
from tests.runtime.test_exec import run as run_beside

from wherry.runtime import Launcher

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]

MONOLOGUE = (Path(__file__).parent / "monologue.wat").read_text()
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
