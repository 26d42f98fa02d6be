"""Containers made by the launcher, seen from inside and from outside."""

import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cgroups import cgroups
from tests.guests.toolchain import Guests
from tests.runtime.bundles import WAITS_FOR_STDIN, WASI_HELLO, Bundle, reap, run

from wherry.runtime import CreateRequest, Launcher, LaunchError, NotWasm, Process

WASI_EIO = 29
pytestmark = pytest.mark.root
Make = Callable[..., Bundle]


async def test_runs_a_module_in_text_form(launcher: Launcher, bundle: Make) -> None:
    container = bundle("/hello.wat")
    container.put("hello.wat", WASI_HELLO)
    outcome = await run(launcher, container)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, b"hello\n", b"")


async def test_the_entrypoint_may_lack_its_leading_slash(launcher: Launcher, bundle: Make) -> None:
    container = bundle("hello.wat")
    container.put("hello.wat", WASI_HELLO)
    assert (await run(launcher, container)).stdout == b"hello\n"


async def test_the_entrypoint_is_found_along_path(launcher: Launcher, bundle: Make) -> None:
    container = bundle("hello.wat")
    container.config["process"]["env"] = ["PATH=/opt/bin"]
    container.put("opt/bin/hello.wat", WASI_HELLO)
    assert (await run(launcher, container)).stdout == b"hello\n"


async def test_an_entrypoint_symlink_stays_in_the_container(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.wat"
    outside.write_text(WASI_HELLO)
    container = bundle("/link")
    (container.image / "link").symlink_to(f"../../../../../..{outside}")
    with pytest.raises(LaunchError) as failure:
        await run(launcher, container)
    assert failure.value.exit_code == 127


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\x7fELF\x02\x01\x01", "Linux program"),
        (b"#!/bin/sh\n", "script"),
        (b"nonsense", "neither"),
        (b"\0asm\x01\0\0\0\x01\x05", "not a valid WebAssembly"),
        (b"(module (func", "not a valid WebAssembly"),
    ],
)
async def test_what_is_not_wasm_is_refused_with_126_and_a_reason(
    launcher: Launcher, bundle: Make, content: bytes, says: str
) -> None:
    container = bundle()
    container.put("main.wasm", content)
    with pytest.raises(LaunchError, match=says) as failure:
        await run(launcher, container)
    assert failure.value.exit_code == 126
    assert "\n" not in failure.value.message


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01\x01", b"#!/bin/sh\n", b"nonsense"])
async def test_a_file_that_nobody_means_as_wasm_is_told_apart(
    launcher: Launcher, bundle: Make, content: bytes
) -> None:
    container = bundle("/bin/program")
    container.put("bin/program", content)
    with pytest.raises(NotWasm, match="/bin/program") as failure:
        await run(launcher, container)
    assert failure.value.exit_code == 126


async def test_a_folder_of_the_programs_name_is_passed_over(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle("main.wasm")
    container.config["process"]["cwd"] = "/srv"
    container.put("srv/main.wasm/data", b"")
    container.put("main.wasm", WASI_HELLO)
    assert (await run(launcher, container)).stdout == b"hello\n"


async def test_a_missing_program_is_127(launcher: Launcher, bundle: Make) -> None:
    with pytest.raises(LaunchError, match="no such file") as failure:
        await run(launcher, bundle("/nothing.wasm"))
    assert failure.value.exit_code == 127


@pytest.mark.parametrize("kind", ["module", "component"])
async def test_a_library_is_told_to_be_one(launcher: Launcher, bundle: Make, kind: str) -> None:
    container = bundle()
    container.put("main.wasm", f"({kind})")
    outcome = await run(launcher, container)
    assert outcome.status == 126
    assert b"nothing to run, it is a library: the %s exports no " % kind.encode() in outcome.stderr


async def test_an_unknown_import_is_named(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.put("main.wasm", '(module (import "env" "magic" (func)) (func (export "_start")))')
    outcome = await run(launcher, container)
    assert outcome.status == 126
    assert b"env" in outcome.stderr and b"magic" in outcome.stderr
    assert outcome.stderr.count(b"\n") == 1


@pytest.mark.parametrize("code", [0, 1, 125, 126, 200, 255])
async def test_every_exit_code_arrives(launcher: Launcher, bundle: Make, code: int) -> None:
    container = bundle()
    container.put(
        "main.wasm",
        '(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
        f' (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {code}))))',
    )
    outcome = await run(launcher, container)
    assert (outcome.status, outcome.stderr) == (code, b"")


async def test_a_trap_names_its_functions(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.put(
        "main.wasm", '(module (func $boom unreachable) (func (export "_start") call $boom))'
    )
    outcome = await run(launcher, container)
    assert outcome.status == 134
    assert b"unreachable" in outcome.stderr.splitlines()[0]
    assert b"boom" in outcome.stderr


async def test_refused_memory_is_told_to_who_dies_of_it(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.config["linux"]["resources"] = {"memory": {"limit": 32 << 20}}
    container.put(
        "main.wasm",
        '(module (memory (export "memory") 1) (func (export "_start")'
        " (if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable))))",
    )
    outcome = await run(launcher, container)
    assert outcome.status == 134
    assert b"was refused memory" in outcome.stderr
    assert b"limit is 24.0 MiB" in outcome.stderr


async def test_a_limited_guest_has_its_initial_memory(launcher: Launcher, bundle: Make) -> None:
    container = bundle("/hello.wat")
    container.config["linux"]["resources"] = {"memory": {"limit": 32 << 20}}
    container.put("hello.wat", WASI_HELLO)
    assert (await run(launcher, container)).stdout == b"hello\n"


async def test_growth_within_the_limit_works(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.config["linux"]["resources"] = {"memory": {"limit": 32 << 20}}
    container.put(
        "main.wasm",
        '(module (memory (export "memory") 1) (func (export "_start")'
        " (if (i32.ne (memory.grow (i32.const 100)) (i32.const 1)) (then unreachable))"
        " (i32.store (i32.const 6000000) (i32.const 7))))",
    )
    assert (await run(launcher, container)).status == 0


async def test_the_process_has_no_privileges(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.put("main.wasm", WAITS_FOR_STDIN)
    seen: dict[str, str] = {}
    namespaces: dict[str, str] = {}

    async def look(process: Process) -> None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        for line in status.splitlines():
            name, _, value = line.partition(":\t")
            seen[name] = value
        for kind in ("pid", "mnt", "ipc", "uts", "net"):
            namespaces[kind] = os.readlink(f"/proc/{process.pid}/ns/{kind}")

    await run(launcher, container, while_running=look)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(seen[kind], 16) == 0, kind
    assert seen["NoNewPrivs"] == "1"
    assert seen["Seccomp"] == "2"
    assert seen["NSpid"].split()[-1] == "1"
    for kind, link in namespaces.items():
        assert link != os.readlink(f"/proc/self/ns/{kind}"), kind


async def test_it_holds_no_descriptor_of_the_shim(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.put("main.wasm", WAITS_FOR_STDIN)
    leak = os.open("/etc/passwd", os.O_RDONLY)
    links: list[str] = []

    async def look(process: Process) -> None:
        folder = f"/proc/{process.pid}/fd"
        links.extend(os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder))

    await run(launcher, container, while_running=look)
    os.close(leak)
    assert not [link for link in links if link.endswith(("passwd", ".sock"))]
    assert sum(link.startswith("socket:") for link in links) == 1


async def test_nothing_is_mounted_on_the_host(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.put("main.wasm", WAITS_FOR_STDIN)

    async def look(process: Process) -> None:
        # Others may have mounted something meanwhile.
        assert str(container.path) not in Path("/proc/self/mounts").read_text()
        assert "overlay" in Path(f"/proc/{process.pid}/mounts").read_text()

    await run(launcher, container, while_running=look)


async def test_a_signal_to_the_process_reaches_the_shim(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.put("main.wasm", '(module (func (export "_start") (loop $l br $l)))')
    null = os.open("/dev/null", os.O_RDWR)
    process = await launcher.create(container.request(null, null, null))
    heard: list[int] = []

    def end(number: int) -> None:
        heard.append(number)
        signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)

    await process.start(end)
    while "t" not in _caught(process.pid):
        os.sched_yield()
    os.kill(process.pid, signal.SIGTERM)
    assert await reap(process) == -signal.SIGKILL
    assert heard == [signal.SIGTERM]
    os.close(null)


def _caught(pid: int) -> str:
    """`t` once the process has installed its handler for SIGTERM."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return "t" if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1 else ""


async def test_a_failed_create_leaves_nothing(launcher: Launcher, bundle: Make) -> None:
    container = bundle("/nothing.wasm")
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(LaunchError):
            await launcher.create(_silent(container))
    assert len(os.listdir("/proc/self/fd")) == open_before
    assert not cgroups(f"wherry-test-{os.getpid()}/{container.path.name}")
    with pytest.raises(ChildProcessError):
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise AssertionError("a process was left to reap")
        raise ChildProcessError  # only the zygote is alive


def _silent(container: Bundle) -> CreateRequest:
    null = os.open("/dev/null", os.O_RDWR)
    request = container.request(null, null, null)
    os.close(null)
    return request


async def test_a_killed_zygote_is_replaced(launcher: Launcher, bundle: Make) -> None:
    first = bundle("/hello.wat")
    first.put("hello.wat", WASI_HELLO)
    assert (await run(launcher, first)).status == 0
    os.kill(launcher._pid, signal.SIGKILL)
    second = bundle("/hello.wat")
    second.put("hello.wat", WASI_HELLO)
    assert (await run(launcher, second)).stdout == b"hello\n"


async def test_a_volume_is_mounted_and_one_that_is_read_only_stays_so(
    launcher: Launcher, bundle: Make, guests: Guests, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "greeting").write_text("from the host")
    container = bundle("/toolbox.wasm", "cat", "/data/greeting")
    container.put("toolbox.wasm", guests.toolbox().read_bytes())
    container.config["mounts"] = [
        {"destination": "/data", "type": "bind", "source": str(volume), "options": ["rbind", "ro"]}
    ]
    outcome = await run(launcher, container)
    assert outcome.stdout == b"from the host", outcome
    container = bundle("/toolbox.wasm", "put", "/data/new", "x")
    container.put("toolbox.wasm", guests.toolbox().read_bytes())
    container.config["mounts"] = [
        {"destination": "/data", "type": "bind", "source": str(volume), "options": ["rbind", "ro"]}
    ]
    outcome = await run(launcher, container)
    assert outcome.status == WASI_EIO, outcome  # what wasmtime makes of EROFS
    assert not (volume / "new").exists()


async def test_a_mount_destination_symlink_does_not_lead_out(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    volume, target = tmp_path / "volume", tmp_path / "target"
    volume.mkdir()
    target.mkdir()
    container = bundle("/hello.wat")
    container.put("hello.wat", WASI_HELLO)
    (container.image / "data").symlink_to(f"../../../../../../..{target}")
    container.config["mounts"] = [
        {"destination": "/data/new", "type": "bind", "source": str(volume), "options": ["rbind"]}
    ]
    try:
        await run(launcher, container)
    except LaunchError as refused:
        assert "/data/new" in refused.message
    assert list(target.iterdir()) == []


async def test_devices_are_there_and_read_only(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.put("main.wasm", WAITS_FOR_STDIN)
    modes: dict[str, int] = {}

    async def look(process: Process) -> None:
        root = f"/proc/{process.pid}/root/dev"
        modes.update({name: os.stat(f"{root}/{name}").st_mode for name in os.listdir(root)})

    await run(launcher, container, while_running=look)
    assert set(modes) == {"null", "zero", "full", "random", "urandom"}
    assert all(stat.S_ISCHR(mode) and mode & 0o777 == 0o666 for mode in modes.values())


async def test_a_mount_among_the_devices_is_there_beside_them(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle()
    container.put("main.wasm", WAITS_FOR_STDIN)
    message = container.path / "message"
    message.write_text("from the host")
    container.config["mounts"] = [
        {
            "destination": "/dev/termination-log",
            "type": "bind",
            "source": str(message),
            "options": ["rbind", "rw"],
        }
    ]

    async def look(process: Process) -> None:
        folder = Path(f"/proc/{process.pid}/root/dev")
        assert {"null", "termination-log"} <= {path.name for path in folder.iterdir()}
        assert (folder / "termination-log").read_text() == "from the host"
        assert (folder / "null").read_bytes() == b""
        with pytest.raises(OSError, match="Read-only"):
            (folder / "new").touch()

    await run(launcher, container, while_running=look)


async def test_a_device_node_of_an_image_or_a_volume_does_not_open(
    launcher: Launcher, bundle: Make, guests: Guests, tmp_path: Path
) -> None:
    for path in ("/node", "/data/node"):
        container = bundle("/toolbox.wasm", "cat", path)
        container.put("toolbox.wasm", guests.toolbox().read_bytes())
        volume = container.path / "volume"
        volume.mkdir()
        for folder in (container.image, volume):
            os.mknod(folder / "node", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        container.config["mounts"] = [
            {"destination": "/data", "type": "bind", "source": str(volume), "options": ["rbind"]}
        ]
        outcome = await run(launcher, container)
        assert outcome.status != 0 and outcome.stdout == b"", path


async def test_a_relative_path_begins_in_the_working_directory(
    launcher: Launcher, bundle: Make, guests: Guests
) -> None:
    for path in ("rel.txt", "/etc/abs.txt"):
        container = bundle("/toolbox.wasm", "cat", path)
        container.config["process"]["cwd"] = "/work"
        container.put("toolbox.wasm", guests.toolbox().read_bytes())
        container.put("work/rel.txt", "found")
        container.put("etc/abs.txt", "found")
        assert (await run(launcher, container)).stdout == b"found", path


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"process": None}, "names no program"),
        ({"process": {"args": []}}, "names no program"),
        ({"ociVersion": 3}, "config.json"),
        ({"linux": {"namespaces": [{"type": "user"}]}}, "user namespaces"),
        ({"mounts": [{"destination": "/x", "type": "bind", "source": "rel"}]}, "/x"),
        ({"mounts": [{"destination": "/x", "type": "bind", "source": "/no/such"}]}, "/no/such"),
        ({"mounts": [{"destination": "/x", "type": "nofs", "source": "x"}]}, "/x"),
    ],
)
async def test_a_bundle_with_nonsense_in_it_is_refused(
    launcher: Launcher, bundle: Make, config: dict[str, object], says: str
) -> None:
    container = bundle("/hello.wat")
    container.put("hello.wat", WASI_HELLO)
    container.config.update(config)
    with pytest.raises(LaunchError, match=says):
        await run(launcher, container)


async def test_root_of_another_container_that_sees_the_process_cannot_look_into_it(
    launcher: Launcher, bundle: Make
) -> None:
    """As a Linux container in the pid namespace might: it would find files of the host there."""
    container = bundle()
    container.put("main.wasm", WAITS_FOR_STDIN)
    seen: dict[str, int] = {}

    async def look(process: Process) -> None:
        here = f"/proc/{process.pid}"
        descriptors = [f"fd/{number}" for number in os.listdir(f"{here}/fd")]
        assert len(descriptors) > 3
        for name in ["exe", "mem", "root/main.wasm", *descriptors]:
            argv = ["setpriv", "--bounding-set=-sys_ptrace", "dd", "count=0", f"if={here}/{name}"]
            seen[name] = subprocess.run(argv, capture_output=True, check=False).returncode
        control = ["setpriv", "--bounding-set=-sys_ptrace", "dd", "count=0", "if=/proc/self/exe"]
        seen["control"] = subprocess.run(control, capture_output=True, check=False).returncode

    await run(launcher, container, while_running=look)
    assert [name for name, status in seen.items() if status == 0] == ["control"]


async def test_its_compiled_code_cannot_be_written_by_who_may_trace_it(
    launcher: Launcher, bundle: Make
) -> None:
    """As a debug container may: the code is that of other containers, too."""
    container = bundle()
    container.put("main.wasm", WAITS_FOR_STDIN)
    refused: list[str] = []

    async def look(process: Process) -> None:
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            if stat.S_ISREG(link.stat().st_mode):
                with pytest.raises(OSError, match="Read-only"):
                    os.open(link, os.O_WRONLY)
                refused.append(link.name)

    await run(launcher, container, while_running=look)
    assert refused


async def test_what_an_image_says_in_an_error_steers_no_terminal(
    launcher: Launcher, bundle: Make
) -> None:
    with pytest.raises(LaunchError) as refusal:
        await run(launcher, bundle("/\x1b]0;hostile\x07\nlevel=info"))
    message = refusal.value.message
    assert message.isprintable() and "hostile" in message and "no such file" in message
