"""The process that holds a pod's namespaces, and containers that join them."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.runtime.bundles import WAITS_FOR_STDIN, Bundle, reap, run

from wherry.runtime import Launcher, LaunchError, Process

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]
KINDS = ("pid", "net", "ipc", "uts")


def sandbox(bundle: Bundle) -> Bundle:
    """The bundle of a pod's sandbox, of an image in which there is nothing."""
    bundle.config["annotations"] = {"io.kubernetes.cri.container-type": "sandbox"}
    bundle.config["process"] = {"args": ["/pause"], "cwd": "/", "user": {"uid": 65535}}
    bundle.config["root"]["readonly"] = True
    bundle.config["hostname"] = "a-pod"
    return bundle


@contextlib.asynccontextmanager
async def held(launcher: Launcher, bundle: Bundle) -> AsyncIterator[Process]:
    """A pod, started."""
    process = await create(launcher, bundle)
    await process.start(lambda _: None)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
        await reap(process)


async def create(launcher: Launcher, bundle: Bundle) -> Process:
    null = os.open("/dev/null", os.O_RDWR)
    try:
        return await launcher.create(bundle.request(null, null, null))
    finally:
        os.close(null)


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value for name, _, value in (line.partition(":\t") for line in lines)}


def namespaces_of(pid: int | str, *kinds: str) -> list[str]:
    return [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds or KINDS]


def share(bundle: Bundle, pid: int, *kinds: str) -> Bundle:
    """Have a container join namespaces of the process `pid`."""
    names = {"network": "net"}
    for namespace in bundle.config["linux"]["namespaces"]:
        name = names.get(namespace["type"], namespace["type"])
        if name in kinds:
            namespace["path"] = f"/proc/{pid}/ns/{name}"
    bundle.config.pop("hostname", None)
    return bundle


async def test_a_sandbox_needs_no_program_and_gives_up_everything(
    launcher: Launcher, bundle: Make
) -> None:
    async with held(launcher, sandbox(bundle())) as pod:
        status = status_of(pod.pid)
        assert (status["Uid"].split()[0], status["NoNewPrivs"], status["Seccomp"]) == (
            "65535", "1", "2",
        )  # fmt: skip
        assert int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
        assert os.listdir(f"/proc/{pod.pid}/root") == []
        own = namespaces_of("self", *KINDS, "mnt")
        assert not set(namespaces_of(pod.pid, *KINDS, "mnt")) & set(own)
        entered = subprocess.run(
            ["nsenter", "-t", str(pod.pid), "-u", "hostname"], capture_output=True, text=True
        )
        assert entered.stdout == "a-pod\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
async def test_a_signal_ends_the_pod_with_its_number(
    launcher: Launcher, bundle: Make, number: signal.Signals
) -> None:
    pod = await create(launcher, sandbox(bundle()))
    await pod.start(lambda _: None)
    os.kill(pod.pid, number)
    assert await reap(pod) == 128 + number


async def test_the_pod_waits_on_when_signals_come_that_end_nothing(
    launcher: Launcher, bundle: Make
) -> None:
    async with held(launcher, sandbox(bundle())) as pod:
        for number in (signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT):
            os.kill(pod.pid, number)
        os.kill(pod.pid, signal.SIGTERM)
        assert (await asyncio.to_thread(_status, pod)) == 128 + signal.SIGTERM


def _status(process: Process) -> int:
    result = os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | os.WNOWAIT)
    assert result is not None
    return result.si_status


async def test_process_1_of_a_shared_pid_namespace_buries_orphans(
    launcher: Launcher, bundle: Make
) -> None:
    async with held(launcher, sandbox(bundle())) as pod:
        # A child of a child, whose parent goes first; then whoever has no parent is process 1's.
        script = "import os\nif os.fork() == 0:\n if os.fork() == 0: os.getppid()\n os._exit(0)"
        enter = ["nsenter", "-t", str(pod.pid), "-p", sys.executable, "-S", "-c", script]
        for _ in range(20):
            subprocess.run(enter, check=True)
        tasks = f"/proc/{pod.pid}/task/{pod.pid}/children"
        for _ in range(10_000):
            if not Path(tasks).read_text():
                break
            await asyncio.sleep(0)
        assert Path(tasks).read_text() == ""


async def test_the_pod_holds_the_network_it_is_given_by_path(
    launcher: Launcher, bundle: Make
) -> None:
    name = f"wherry-pod-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        container = sandbox(bundle())
        path = f"/run/netns/{name}"
        container.config["linux"]["namespaces"][-1]["path"] = path
        container.config["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
        async with held(launcher, container) as pod:
            assert os.stat(f"/proc/{pod.pid}/ns/net").st_ino == os.stat(path).st_ino
            assert sysctl(path, "net.ipv4.ip_unprivileged_port_start") == "0"
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def sysctl(network: str, name: str) -> str:
    """A parameter of another network namespace."""
    command = ["nsenter", f"--net={network}", "cat", f"/proc/sys/{name.replace('.', '/')}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


async def test_containers_join_the_namespaces_of_their_pod(
    launcher: Launcher, bundle: Make
) -> None:
    async with held(launcher, sandbox(bundle())) as pod:
        container = share(bundle(), pod.pid, *KINDS)
        container.put("main.wasm", WAITS_FOR_STDIN)
        seen: list[str] = []

        async def look(process: Process) -> None:
            seen.extend(namespaces_of(process.pid))
            seen.append(status_of(process.pid)["NSpid"].split()[-1])

        assert (await run(launcher, container, while_running=look)).status == 0
        assert seen == [*namespaces_of(pod.pid), "2"]
        assert status_of(pod.pid)["State"].startswith("S")


async def test_a_container_may_share_all_but_the_processes(
    launcher: Launcher, bundle: Make
) -> None:
    async with held(launcher, sandbox(bundle())) as pod:
        container = share(bundle(), pod.pid, "net", "ipc", "uts")
        container.put("main.wasm", WAITS_FOR_STDIN)
        pids: list[str] = []

        async def look(process: Process) -> None:
            pids.extend(status_of(process.pid)["NSpid"].split())

        await run(launcher, container, while_running=look)
        assert pids[-1] == "1"


@pytest.mark.parametrize("kind", ["cgroup", "time"])
async def test_cgroup_and_time_namespaces_are_joined_by_path(
    launcher: Launcher, bundle: Make, kind: str
) -> None:
    flags = {"cgroup": "-C", "time": "-T"}
    holder = subprocess.Popen(
        ["unshare", flags[kind], "--fork", "--kill-child", "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline()
        (pid,) = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        path = f"/proc/{pid}/ns/{kind}"
        container = bundle()
        container.config["linux"]["namespaces"].append({"type": kind, "path": path})
        container.put("main.wasm", WAITS_FOR_STDIN)
        seen: list[int] = []

        async def look(process: Process) -> None:
            seen.append(os.stat(f"/proc/{process.pid}/ns/{kind}").st_ino)

        await run(launcher, container, while_running=look)
        assert seen == [os.stat(path).st_ino] != [os.stat(f"/proc/self/ns/{kind}").st_ino]
    finally:
        holder.kill()
        holder.wait()
        for pipe in (holder.stdin, holder.stdout):
            assert pipe is not None
            pipe.close()


async def test_files_of_the_pod_are_bound_where_the_image_has_nothing(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    container = bundle()
    container.put("main.wasm", WAITS_FOR_STDIN)
    (tmp_path / "shm").mkdir()
    mounts = {"/etc/hosts": "hosts", "/etc/resolv.conf": "resolv", "/deep/er/file": "file"}
    for name in mounts.values():
        (tmp_path / name).write_text(name)
    container.config["mounts"] = [
        {"destination": to, "type": "bind", "source": str(tmp_path / name), "options": ["rbind"]}
        for to, name in (*mounts.items(), ("/dev/shm", "shm"))
    ]
    found: list[str] = []

    async def look(process: Process) -> None:
        root = Path(f"/proc/{process.pid}/root")
        found.extend((root / to.lstrip("/")).read_text() for to in mounts)
        assert (root / "dev/shm").stat().st_ino == (tmp_path / "shm").stat().st_ino

    assert (await run(launcher, container, while_running=look)).status == 0
    assert found == list(mounts.values())


async def test_a_hostname_without_a_namespace_for_it_is_refused(
    launcher: Launcher, bundle: Make
) -> None:
    before = os.uname().nodename
    for container in (bundle(), sandbox(bundle())):
        container.put("main.wasm", WAITS_FOR_STDIN)
        kinds = container.config["linux"]["namespaces"]
        container.config["linux"]["namespaces"] = [k for k in kinds if k["type"] != "uts"]
        with pytest.raises(LaunchError, match="hostname needs a uts namespace"):
            await create(launcher, container)
    assert os.uname().nodename == before


async def test_a_pod_on_the_hosts_network_has_it(launcher: Launcher, bundle: Make) -> None:
    container = sandbox(bundle())
    kinds = container.config["linux"]["namespaces"]
    container.config["linux"]["namespaces"] = [
        kind for kind in kinds if kind["type"] not in ("uts", "network")
    ]
    del container.config["hostname"]
    async with held(launcher, container) as pod:
        kinds_shared = ("net", "uts")
        assert namespaces_of(pod.pid, *kinds_shared) == namespaces_of("self", *kinds_shared)
