"""Further processes of a running container: made by the launcher, seen from inside and outside."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import WAITS_FOR_STDIN, WASI_HELLO, Bundle, Outcome, reap

from wherry.oci import runtime as spec
from wherry.runtime import ContainerEnded, ExecRequest, Launcher, LaunchError, Process

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]

SPIN = '(module (func (export "_start") (loop $l br $l)))'


@contextlib.asynccontextmanager
async def running(launcher: Launcher, bundle: Bundle) -> AsyncIterator[Process]:
    """A container whose first process waits; it is ended and cleaned up after."""
    if not (bundle.image / "main.wasm").exists():
        bundle.put("main.wasm", WAITS_FOR_STDIN)
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    try:
        process = await launcher.create(bundle.request(reader, null, null))
        await process.start(lambda number: None)
        yield process
    finally:
        os.close(writer)
        os.close(reader)
        os.close(null)
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
    await reap(process)


def request(
    container: Process, bundle: Bundle, process: spec.Process, stdin: int, out: int, err: int
) -> ExecRequest:
    return ExecRequest(
        container=container,
        bundle=str(bundle.path),
        process=process,
        stdin=stdin,
        stdout=out,
        stderr=err,
    )


def command(*args: str, cwd: str = "/", **more: object) -> spec.Process:
    return spec.Process(args=list(args), cwd=cwd, **more)  # type: ignore[arg-type]


async def run(
    launcher: Launcher,
    container: Process,
    bundle: Bundle,
    process: spec.Process,
    stdin: bytes = b"",
    while_running: Callable[[Process], Awaitable[None]] | None = None,
) -> Outcome:
    """Run a further process to its end. Output is bounded by what a pipe holds (64 KiB)."""
    pipes = [os.pipe() for _ in range(3)]
    os.write(pipes[0][1], stdin)
    if while_running is None:
        os.close(pipes[0][1])
    given = (pipes[0][0], pipes[1][1], pipes[2][1])
    try:
        made = await launcher.exec(request(container, bundle, process, *given))
    finally:
        for fd in given:
            os.close(fd)
    await made.start(lambda number: None)
    if while_running is not None:
        await while_running(made)
        os.close(pipes[0][1])
    status = await reap(made)
    with os.fdopen(pipes[1][0], "rb") as out, os.fdopen(pipes[2][0], "rb") as err:
        return Outcome(status, out.read(), err.read())


async def test_a_further_process_runs_and_gives_its_output(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle()
    container.put("hello.wat", WASI_HELLO)
    async with running(launcher, container) as first:
        outcome = await run(launcher, first, container, command("/hello.wat"))
        assert (outcome.status, outcome.stdout, outcome.stderr) == (0, b"hello\n", b"")
        assert Path(f"/proc/{first.pid}/exe").exists()


async def test_it_sees_what_the_container_wrote_and_its_volumes(
    launcher: Launcher, bundle: Make, guests: Guests, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "tool.wasm").write_bytes(guests.toolbox().read_bytes())
    container = bundle()
    container.config["mounts"] = [
        {"destination": "/data", "type": "bind", "source": str(volume), "options": ["rbind"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
    ]
    async with running(launcher, container) as first:

        async def tool(*args: str) -> Outcome:
            # The program itself lies in the volume.
            return await run(launcher, first, container, command("/data/tool.wasm", *args))

        for path in ("/written", "/data/written", "/tmp/written"):
            assert (await tool("put", path, "by an exec")).status == 0, path
            assert (await tool("cat", path)).stdout == b"by an exec", path
    assert (volume / "written").read_text() == "by an exec"
    assert (container.path / "upper" / "written").exists()


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value for name, _, value in (line.partition(":\t") for line in lines)}


def namespaces_of(pid: int) -> dict[str, str]:
    kinds = ("pid", "mnt", "ipc", "uts", "net")
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds}


async def test_it_is_in_the_sandbox_without_privileges(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    async with running(launcher, container) as first:

        async def look(process: Process) -> None:
            assert namespaces_of(process.pid) == namespaces_of(first.pid)
            cgroups = [Path(f"/proc/{one.pid}/cgroup").read_text() for one in (process, first)]
            assert cgroups[0] == cgroups[1]
            assert container.path.name in cgroups[0]
            assert sorted(first.cgroup.pids()) == sorted((first.pid, process.pid))
            roots = [os.stat(f"/proc/{one.pid}/root") for one in (process, first)]
            assert (roots[0].st_dev, roots[0].st_ino) == (roots[1].st_dev, roots[1].st_ino)
            seen, of_first = status_of(process.pid), status_of(first.pid)
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(seen[kind], 16) == 0, kind
            for fact in ("NoNewPrivs", "Seccomp", "Seccomp_filters"):
                assert seen[fact] == of_first[fact] != "0", fact
            assert int(seen["PPid"]) == os.getpid()
            assert len(seen["NSpid"].split()) == len(of_first["NSpid"].split()) > 1
            assert str(container.path) not in Path("/proc/self/mounts").read_text()

        outcome = await run(launcher, first, container, command("/main.wasm"), while_running=look)
        assert (outcome.status, outcome.stderr) == (0, b"")


async def test_it_holds_no_descriptor_of_who_made_it(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    leak = os.open("/etc/passwd", os.O_RDONLY)
    links: list[str] = []
    async with running(launcher, container) as first:

        async def look(process: Process) -> None:
            folder = f"/proc/{process.pid}/fd"
            links.extend(os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder))

        await run(launcher, first, container, command("/main.wasm"), while_running=look)
    os.close(leak)
    assert sum(link.startswith("pipe:") for link in links) == 3
    assert sum(link.startswith("socket:") for link in links) == 1
    for kind in ("passwd", "pidfd", "memfd", "mnt:", "pid:", "net:"):
        assert not [link for link in links if kind in link], kind


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/self/status", "/sys/kernel", "/../../../../etc/passwd"]
)
async def test_no_file_of_the_host_has_a_name(
    launcher: Launcher, bundle: Make, guests: Guests, path: str
) -> None:
    container = bundle()
    container.put("toolbox.wasm", guests.toolbox().read_bytes())
    async with running(launcher, container) as first:
        program = command("/toolbox.wasm", "cat", path)
        outcome = await run(launcher, first, container, program)
        assert outcome.status != 0 and outcome.stdout == b""


async def test_a_program_that_is_a_link_stays_in_the_container(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.wat"
    outside.write_text(WASI_HELLO)
    container = bundle()
    container.put("inside.wat", WASI_HELLO)
    (container.image / "out").symlink_to(f"../../../../../..{outside}")
    (container.image / "absolute").symlink_to("/inside.wat")
    async with running(launcher, container) as first:
        with pytest.raises(LaunchError, match="no such file or directory") as failure:
            await run(launcher, first, container, command("/out"))
        assert failure.value.exit_code == 127
        outcome = await run(launcher, first, container, command("/absolute"))
        assert outcome.stdout == b"hello\n"


async def test_a_volume_that_is_read_only_stays_so(
    launcher: Launcher, bundle: Make, guests: Guests, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    container = bundle()
    container.config["root"]["readonly"] = True
    container.put("toolbox.wasm", guests.toolbox().read_bytes())
    container.config["mounts"] = [
        {"destination": "/data", "type": "bind", "source": str(volume), "options": ["rbind", "ro"]}
    ]
    async with running(launcher, container) as first:
        for path in ("/data/new", "/new"):
            outcome = await run(
                launcher, first, container, command("/toolbox.wasm", "put", path, "x")
            )
            assert outcome.status != 0, path
    assert not (volume / "new").exists()
    assert not (container.path / "upper" / "new").exists()


async def test_it_has_its_own_user_limits_and_name(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    process = command(
        "/main.wasm",
        user=spec.User(uid=1234, gid=5678, additional_gids=[42]),
        rlimits=[spec.Rlimit(type="RLIMIT_NOFILE", soft=77, hard=88)],
        oom_score_adj=321,
    )
    async with running(launcher, container) as first:

        async def look(made: Process) -> None:
            seen = status_of(made.pid)
            assert seen["Uid"].split() == ["1234"] * 4
            assert seen["Gid"].split() == ["5678"] * 4
            assert seen["Groups"].split() == ["42"]
            limits = Path(f"/proc/{made.pid}/limits").read_text()
            (files,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
            assert files.split()[3:5] == ["77", "88"]
            assert Path(f"/proc/{made.pid}/oom_score_adj").read_text() == "321\n"

        outcome = await run(launcher, first, container, process, while_running=look)
        assert (outcome.status, outcome.stderr) == (0, b"")


async def test_a_relative_path_begins_in_its_working_directory(
    launcher: Launcher, bundle: Make, guests: Guests
) -> None:
    container = bundle()
    container.put("toolbox.wasm", guests.toolbox().read_bytes())
    container.put("work/rel.txt", "found")
    container.put("etc/abs.txt", "found")
    async with running(launcher, container) as first:
        for path in ("rel.txt", "/etc/abs.txt"):
            process = command("/toolbox.wasm", "cat", path, cwd="/work")
            outcome = await run(launcher, first, container, process)
            assert outcome.stdout == b"found", path


async def test_a_working_directory_that_is_not_there_is_named_and_not_made(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle()
    container.put("hello.wat", WASI_HELLO)
    async with running(launcher, container) as first:
        with pytest.raises(LaunchError, match="working directory /nowhere"):
            await run(launcher, first, container, command("/hello.wat", cwd="/nowhere"))
    assert not (container.path / "upper" / "nowhere").exists()


@pytest.mark.parametrize(
    ("args", "exit_code", "says"),
    [
        (["/nothing.wasm"], 127, "no such file or directory"),
        (["nothing"], 127, "no such file or directory"),
        ([], 127, "names no program"),
        (["/folder"], 126, "not a file"),
        (["/broken.wasm"], 126, "not a valid WebAssembly"),
        (["/linux"], 126, "no WebAssembly"),
    ],
)
async def test_what_cannot_run_is_refused_with_a_reason(
    launcher: Launcher, bundle: Make, args: list[str], exit_code: int, says: str
) -> None:
    container = bundle()
    container.put("folder/file", "")
    container.put("linux", b"\x7fELF\x02\x01\x01")
    container.put("broken.wasm", b"\0asm\x01\0\0\0\x01\x05")
    async with running(launcher, container) as first:
        with pytest.raises(LaunchError, match=says) as failure:
            await run(launcher, first, container, command(*args))
        assert failure.value.exit_code == exit_code
        assert first.cgroup.pids() == [first.pid]


async def test_a_memory_limit_bounds_it_too(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.config["linux"]["resources"] = {"memory": {"limit": 48 << 20}}
    container.put(
        "greedy.wat",
        '(module (memory (export "memory") 1) (func (export "_start")'
        " (if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable))))",
    )
    async with running(launcher, container) as first:
        outcome = await run(launcher, first, container, command("/greedy.wat"))
    assert outcome.status == 134
    assert b"was refused memory" in outcome.stderr


@pytest.mark.parametrize("code", [0, 7, 255])
async def test_its_exit_code_arrives(launcher: Launcher, bundle: Make, code: int) -> None:
    container = bundle()
    container.put(
        "exit.wat",
        '(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
        f' (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {code}))))',
    )
    async with running(launcher, container) as first:
        assert (await run(launcher, first, container, command("/exit.wat"))).status == code


async def test_a_description_larger_than_any_packet_arrives(
    launcher: Launcher, bundle: Make, guests: Guests
) -> None:
    container = bundle()
    container.put("hello.wat", WASI_HELLO)
    async with running(launcher, container) as first:
        process = command("/hello.wat", *(["x" * 1000] * 1000))
        assert (await run(launcher, first, container, process)).stdout == b"hello\n"


@contextlib.asynccontextmanager
async def waiting_beside(
    launcher: Launcher, first: Process, container: Bundle
) -> AsyncIterator[Process]:
    """A further process that computes for ever; not reaped."""
    null = os.open("/dev/null", os.O_RDWR)
    wanted = request(first, container, command("/spin.wat"), null, null, null)
    made = await launcher.exec(wanted)
    os.close(null)
    await made.start(lambda number: None)
    yield made


async def test_it_dies_with_the_first_process(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.put("spin.wat", SPIN)
    async with (
        running(launcher, container) as first,
        waiting_beside(launcher, first, container) as made,
    ):
        signal.pidfd_send_signal(first.pidfd, signal.SIGKILL)
        assert await reap(made) == -signal.SIGKILL


async def test_a_container_that_has_ended_takes_no_process(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle()
    container.put("hello.wat", WASI_HELLO)
    async with running(launcher, container) as first:
        signal.pidfd_send_signal(first.pidfd, signal.SIGKILL)
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(first.pidfd, gone.set)
        await gone.wait()
        asyncio.get_running_loop().remove_reader(first.pidfd)
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(ContainerEnded):  # a zombie is none either
            await launcher.exec(silent(first, container))
        assert len(os.listdir("/proc/self/fd")) <= before
    # The zygote is none the worse for it.
    again = bundle()
    again.put("hello.wat", WASI_HELLO)
    async with running(launcher, again) as first:
        assert (await run(launcher, first, again, command("/hello.wat"))).stdout == b"hello\n"


def silent(first: Process, container: Bundle, program: str = "/hello.wat") -> ExecRequest:
    """A request whose streams are our own."""
    return request(first, container, command(program), 0, 1, 2)


async def test_a_number_that_belongs_to_another_process_by_now_is_not_joined(
    launcher: Launcher, bundle: Make
) -> None:
    """The pidfd says who is meant: its process has ended and its number was given away."""
    container, other = bundle(), bundle()
    container.put("hello.wat", WASI_HELLO)
    other.put("hello.wat", WASI_HELLO)
    async with running(launcher, other) as alive:
        async with running(launcher, container) as ended:
            stale = os.dup(ended.pidfd)
        recycled = Recycled(alive.pid, stale, alive)
        with pytest.raises(ContainerEnded):
            await launcher.exec(silent(recycled, other))  # type: ignore[arg-type]
        assert alive.cgroup.pids() == [alive.pid]
        os.close(stale)


class Recycled:
    """A container whose first process has ended, and its number names another one's."""

    def __init__(self, pid: int, pidfd: int, other: Process) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.cgroup = other.cgroup


async def test_twenty_at_once(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.put("hello.wat", WASI_HELLO)
    async with running(launcher, container) as first:
        open_before = len(os.listdir("/proc/self/fd"))
        outcomes = await asyncio.gather(
            *(run(launcher, first, container, command("/hello.wat")) for _ in range(20))
        )
        assert {(one.status, one.stdout, one.stderr) for one in outcomes} == {(0, b"hello\n", b"")}
        assert len(os.listdir("/proc/self/fd")) == open_before
        assert first.cgroup.pids() == [first.pid]


async def test_it_is_made_by_a_new_zygote_if_the_first_was_killed(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle()
    container.put("hello.wat", WASI_HELLO)
    async with running(launcher, container) as first:
        os.kill(launcher._pid, signal.SIGKILL)
        outcome = await run(launcher, first, container, command("/hello.wat"))
        assert outcome.stdout == b"hello\n"


async def test_a_signal_to_it_reaches_the_shim(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.put("spin.wat", SPIN)
    async with running(launcher, container) as first:
        null = os.open("/dev/null", os.O_RDWR)
        made = await launcher.exec(
            request(first, container, command("/spin.wat"), null, null, null)
        )
        os.close(null)
        heard: list[int] = []

        def end(number: int) -> None:
            heard.append(number)
            signal.pidfd_send_signal(made.pidfd, signal.SIGKILL)

        await made.start(end)
        while not int(status_of(made.pid)["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1:
            os.sched_yield()
        os.kill(made.pid, signal.SIGTERM)
        assert await reap(made) == -signal.SIGKILL
        assert heard == [signal.SIGTERM]


async def test_a_container_that_shares_namespaces_of_the_host_can_be_joined(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle()
    container.config["linux"]["namespaces"] = [{"type": "mount"}]
    del container.config["hostname"]
    container.put("hello.wat", WASI_HELLO)
    async with running(launcher, container) as first:
        host, of_first = namespaces_of(os.getpid()), namespaces_of(first.pid)
        assert {kind for kind in host if host[kind] == of_first[kind]} == {
            "pid", "ipc", "uts", "net",
        }  # fmt: skip

        async def look(process: Process) -> None:
            assert namespaces_of(process.pid) == of_first

        outcome = await run(launcher, first, container, command("/main.wasm"), while_running=look)
        assert outcome.status == 0
        assert (await run(launcher, first, container, command("/hello.wat"))).stdout == b"hello\n"


async def test_a_pod_s_sandbox_has_no_program_to_run(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.config["annotations"] = {"io.kubernetes.cri.container-type": "sandbox"}
    async with running(launcher, container) as first:
        for program in ("/main.wasm", "/bin/sh", "/pause"):
            with pytest.raises(LaunchError, match="no such file or directory") as failure:
                await run(launcher, first, container, command(program))
            assert failure.value.exit_code == 127


async def test_a_process_with_the_host_s_root_is_not_joined(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle()
    async with running(launcher, container) as first:
        pidfd = os.pidfd_open(launcher._pid)
        zygote = Recycled(launcher._pid, pidfd, first)  # a process of wherry's outside any sandbox
        wanted = request(zygote, container, command("/etc/passwd"), 0, 1, 2)  # type: ignore[arg-type]
        with pytest.raises(LaunchError, match="no root of its own"):
            await launcher.exec(wanted)
        os.close(pidfd)


@pytest.mark.parametrize("network", [True, False])
@pytest.mark.parametrize(
    "within",
    [
        pytest.param(["unshare", "--user", "--map-root-user"], id="user namespace"),
        pytest.param(["setpriv", "--bounding-set=-sys_admin"], id="no namespaces"),
    ],
)
async def test_it_works_with_less_rights(
    bundle: Make, guests: Guests, tmp_path: Path, within: list[str], network: bool
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    container = bundle()
    container.config["mounts"] = [
        {"destination": "/data", "type": "bind", "source": str(volume), "options": ["rbind"]}
    ]
    if not network:  # that of the host, which a user namespace may not join
        del container.config["linux"]["namespaces"][-1]
    root = container.path / "rootfs"
    (root / "main.wasm").write_text(WAITS_FOR_STDIN)
    (root / "toolbox.wasm").write_bytes(guests.toolbox().read_bytes())
    (container.path / "config.json").write_bytes(msgspec.json.encode(container.config))
    commands: list[list[str]] = []
    for path in ("/written", "/data/written"):
        commands += [["/toolbox.wasm", "put", path, path], ["/toolbox.wasm", "cat", path]]
    commands += [["/nope.wasm"], ["/toolbox.wasm", "cat", "/etc/passwd"]]
    argv = [*within, sys.executable, "-m", "tests.runtime.exec_once", str(container.path)]
    for words in commands:
        argv += ["--", *words]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[:4] == ["0 ", "0 /written", "0 ", "0 /data/written"], done.stderr
    assert lines[4].startswith('127 exec: "/nope.wasm": no such file')
    assert lines[5].split()[0] != "0"
    assert (root / "written").read_text() == "/written"
    assert (volume / "written").read_text() == "/data/written"
