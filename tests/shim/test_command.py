"""The command `containerd-shim-wherry-v1`: what containerd calls, with a real server behind it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import without
from tests.shim.containerds import SHIM
from tests.shim.installed import Command, gone, pid_of

from wherry.pids import process_start
from wherry.shim.client import ShimError, delete_shim, start_shim
from wherry.shim.group import Group
from wherry.shim.main import parse_flags
from wherry.shim.messages import BootstrapParams, ConnectResponse, DeleteResponse, RuntimeInfo
from wherry.shim.places import CommandError
from wherry.shim.ttrpc.connection import ClientConnection
from wherry.shim.ttrpc.frames import REQUEST, encode_frame


async def test_start_names_a_server_and_leaves_its_address_in_the_bundle(command: Command) -> None:
    bundle = command.bundle("a")
    server = await command.start(bundle)
    assert (bundle / "address").read_text() == server
    assert await pid_of(server) > 0


async def test_one_server_serves_a_namespace_of_one_containerd(command: Command) -> None:
    same = [await command.start(command.bundle(name)) for name in "abc"]
    other_namespace = await command.start(command.bundle("d"), namespace="other")
    other_containerd = await command.start(command.bundle("e"), address="/d.sock")
    assert len(set(same)) == 1
    assert len({same[0], other_namespace, other_containerd}) == 3


async def test_the_fast_path_finds_the_server_without_python(command: Command) -> None:
    server = await command.start(command.bundle("a"))
    (command.folder / "bin" / "wherry-shim").write_text("#!/bin/sh\necho slow path; exit 1\n")
    bundle = command.bundle("b")
    assert await command.start(bundle) == server
    assert (bundle / "address").read_text() == server
    with pytest.raises(ShimError, match="slow path"):
        await command.start(command.bundle("c"), namespace="other")


async def test_under_cri_each_pod_has_its_server_by_both_paths(command: Command) -> None:
    def config(pod: str) -> str:
        text = '{"annotations":{"a":"\\"io.kubernetes.cri.sandbox-id\\":\\"no\\"","io.kubernetes'
        return text + f'.cri.sandbox-id":"{pod}","z":""}}}}'

    servers = [
        await command.start(command.bundle(f"{pod}{n}", config(pod)), namespace="k8s.io")
        for pod in ("p", "q")
        for n in range(2)
    ]
    assert servers[0] == servers[1]
    assert servers[2] == servers[3]
    assert servers[0] != servers[2]
    assert sorted(name.split(",")[1] for name in command.files() if "," in name) == ["p", "q"]


async def test_of_many_starts_at_once_one_makes_the_server(command: Command) -> None:
    bundles = [command.bundle(str(n)) for n in range(12)]
    servers = await asyncio.gather(*(command.start(bundle) for bundle in bundles))
    assert len(set(servers)) == 1
    assert len(command.files()) == 3  # socket, log and pointer


async def test_a_server_that_was_killed_is_replaced(command: Command) -> None:
    server = await command.start(command.bundle("a"))
    dead = await pid_of(server)
    pidfd = os.pidfd_open(dead)
    os.kill(dead, signal.SIGKILL)
    await readable(pidfd)
    assert await command.start(command.bundle("b")) == server
    assert await pid_of(server) != dead


async def readable(fd: int) -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, event.set)
    await event.wait()
    asyncio.get_running_loop().remove_reader(fd)
    os.close(fd)


async def test_a_server_that_is_asked_to_end_leaves_nothing(command: Command) -> None:
    server = await command.start(command.bundle("a"))
    pid = await pid_of(server)
    pidfd = os.pidfd_open(pid)
    await gone(server)
    await readable(pidfd)
    assert command.files() == []


async def test_a_pods_server_ends_by_itself(command: Command) -> None:
    config = '{"annotations":{"io.kubernetes.cri.sandbox-id":"p"}}'
    server = await command.start(command.bundle("a", config), namespace="k8s.io")
    await readable(os.pidfd_open(await pid_of(server)))
    assert command.files() == []


async def test_a_server_holds_none_of_its_callers_descriptors(command: Command) -> None:
    pid = await pid_of(await command.start(command.bundle("a")))
    links = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert links["0"] == "/dev/null"
    assert links["1"] == links["2"]
    assert links["1"].endswith(".log")
    assert not [link for link in links.values() if link.startswith("pipe:")]
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) == pid


async def test_a_terminating_signal_ends_a_server_without_tasks(command: Command) -> None:
    pid = await pid_of(await command.start(command.bundle("a")))
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    await readable(pidfd)
    assert command.files() == []


async def test_a_server_that_cannot_start_says_why(command: Command) -> None:
    slow = command.folder / "bin" / "wherry-shim"
    broken = "import sys\nsys.modules['wherry.runtime.launcher'] = None\n"
    slow.write_text(slow.read_text().replace("from wherry", f"{broken}from wherry"))
    with pytest.raises(
        ShimError, match=r"the shim's server did not start: ModuleNotFoundError: .*launcher"
    ):
        await command.start(command.bundle("a"))
    assert command.files() == []


def test_delete_has_nothing_to_say_after_an_ordinary_deletion(command: Command) -> None:
    bundle = command.bundle("a")
    arguments = ("-namespace", "ns", "-address", "/c.sock", "-publish-binary", "", "-id", "a")
    (command.folder / "bin" / "wherry-shim").unlink()
    assert command.call(*arguments, "-bundle", str(bundle), "delete") == b""
    assert command.call(*arguments, "delete", cwd=bundle) == b""


async def test_delete_ends_what_a_dead_shim_left(command: Command) -> None:
    bundle = command.bundle("a")
    left = subprocess.Popen(["sleep", "1000"])
    (bundle / "wherry-task").symlink_to(f"{left.pid} {process_start(left.pid)} /gone")
    output = await asyncio.to_thread(
        command.call,
        "-namespace", "ns", "-address", "/c.sock", "-id", "a", "-bundle", str(bundle), "delete",
    )  # fmt: skip
    answer = DeleteResponse.decode(output)
    assert (answer.pid, answer.exit_status) == (left.pid, 137)
    assert answer.exited_at > 0
    assert left.wait() == -signal.SIGKILL
    assert not (bundle / "wherry-task").is_symlink()


async def test_delete_leaves_another_process_of_the_same_number_alone(command: Command) -> None:
    bundle = command.bundle("a")
    (bundle / "wherry-task").symlink_to(f"{os.getpid()} 1 /gone")
    await delete_shim(
        runtime=command.program, namespace="ns", id="a", bundle=bundle, address="/c.sock"
    )


async def test_delete_removes_the_files_of_a_dead_server(command: Command) -> None:
    bundle = command.bundle("a")
    pid = await pid_of(await command.start(bundle))
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    await readable(pidfd)
    (bundle / "wherry-task").symlink_to("4194305 1 /gone")
    await delete_shim(
        runtime=command.program, namespace="ns", id="a", bundle=bundle, address="/c.sock"
    )
    assert command.files() == []


def test_bootstrap_parameters_on_stdin_are_enough(command: Command) -> None:
    params = BootstrapParams(
        instance_id="a", namespace="ns", containerd_grpc_address="/c.sock", log_level=-4
    )
    output = command.call("start", cwd=command.bundle("a"), stdin=params.encode())
    command.servers.add(output.decode())
    assert (command.run / "shim" / "ns,,,c.sock").exists()


async def test_what_containerd_2_sends_is_understood(command: Command) -> None:
    """Its environment, its parameters on stdin, the third task service, metadata in a call."""
    bundle = command.bundle("a")
    params = BootstrapParams(
        instance_id="a",
        namespace="ns",
        containerd_version="v2.3.0",
        containerd_ttrpc_address="/nowhere",
        containerd_grpc_address="/c.sock",
        containerd_binary="/usr/bin/containerd",
    )
    flags = ["-namespace", "ns", "-address", "/c.sock", "-publish-binary", "/usr/bin/containerd"]
    done = await asyncio.to_thread(
        subprocess.run,
        [command.program, *flags, "-id", "a", "start"],
        cwd=bundle,
        input=params.encode(),
        env=os.environ | {"MAX_SHIM_VERSION": "2", "TTRPC_ADDRESS": "/nowhere", "NAMESPACE": "ns"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    server = done.stdout.decode()
    command.servers.add(server)
    call = b"\x0a\x17containerd.task.v3.Task\x12\x07Connect\x1a\x03\x0a\x01a"
    timeout = b"\x20\x80\x94\xeb\xdc\x03"
    metadata = b"\x2a\x10\x0a\x0btraceparent\x12\x010"
    reader, writer = await asyncio.open_unix_connection(server.removeprefix("unix://"))
    writer.write(encode_frame(1, REQUEST, call + timeout + metadata))
    header = await reader.readexactly(10)
    (reply,) = ClientConnection().receive(
        header + await reader.readexactly(int.from_bytes(header[:4], "big"))
    )
    writer.close()
    assert reply.error is None
    assert ConnectResponse.decode(reply.payload).shim_pid == await pid_of(server)


def test_info_and_version(command: Command) -> None:
    assert RuntimeInfo.decode(command.call("-info")).name == SHIM
    assert command.call("-v").startswith(b"containerd-shim-wherry-v1 ")


def test_a_link_under_another_shim_s_name_answers_to_that(command: Command) -> None:
    link = command.folder / "containerd-shim-wasmedge-v1"
    link.symlink_to(command.program)
    asked = subprocess.run([link, "-info"], capture_output=True, check=True)
    assert RuntimeInfo.decode(asked.stdout).name == "io.containerd.wasmedge.v1"


@pytest.mark.parametrize("arguments", [["frobnicate"], ["-nonsense"], ["-id"], []], ids=" ".join)
def test_a_wrong_command_line_is_one_line_of_error(command: Command, arguments: list[str]) -> None:
    done = subprocess.run([command.program, *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("wherry-shim: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("place", ["shim", "."])
async def test_a_run_folder_of_somebody_else_is_refused(command: Command, place: str) -> None:
    (command.run / "shim").mkdir(parents=True)
    if os.geteuid() != 0:
        without("needs root")
    os.chown(command.run / place, 12345, 12345)
    with pytest.raises(ShimError, match="belongs to uid 12345"):
        await command.start(command.bundle("a"))


@pytest.mark.parametrize("place", ["run", "run/shim"])
async def test_a_run_folder_that_is_a_link_is_refused(command: Command, place: str) -> None:
    """Whoever made it could turn it round."""
    (command.folder / "elsewhere").mkdir()
    link = command.folder / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(command.folder / "elsewhere")
    with pytest.raises(ShimError, match="is a link"):
        await command.start(command.bundle("a"))


@pytest.mark.parametrize(
    ("runtime", "says"),
    [
        ("io.containerd.nothere.v1", "containerd-shim-nothere-v1 is not on the PATH"),
        ("nonsense", "expected a name like io.containerd.wherry.v1"),
        ("io.containerd.../x.v1", "expected a name like"),
        ("/nowhere/shim", "no such program"),
    ],
)
async def test_a_shim_that_cannot_be_found_is_named(
    tmp_path: Path, runtime: str, says: str
) -> None:
    with pytest.raises(ShimError, match=says):
        await start_shim(
            runtime=runtime, namespace="ns", id="a", bundle=tmp_path, events_address="/x"
        )


@pytest.fixture
def other_shim(tmp_path: Path) -> Callable[[str], str]:
    """Makes a foreign shim that runs a line of shell."""

    def make(line: str) -> str:
        path = tmp_path / "containerd-shim-other-v2"
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return str(path)

    return make


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("echo unix:///a", "unix:///a"),
        ("printf unix:; sleep 0.05; printf ///c", "unix:///c"),
        ("""echo '{"version":3,"address":"unix:///b","protocol":"ttrpc"}'""", "unix:///b"),
    ],
)
async def test_both_forms_of_an_address_are_understood(
    tmp_path: Path, other_shim: Callable[[str], str], line: str, address: str
) -> None:
    runtime = other_shim(line)
    assert address == await start_shim(
        runtime=runtime, namespace="ns", id="a", bundle=tmp_path, events_address="/x"
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("echo what went wrong >&2; exit 1", "what went wrong"),
        ("exit 3", "ended with 3"),
        ("echo a warning; echo unix:///a", "not an address"),
        ("""echo '{"version":3,"address":"x","protocol":"grpc"}'""", "speaks grpc"),
        ("""echo '{"version"'""", "not an address"),
        ("true", "not an address"),
    ],
)
async def test_a_shim_that_fails_is_quoted(
    tmp_path: Path, other_shim: Callable[[str], str], line: str, says: str
) -> None:
    with pytest.raises(ShimError, match=says):
        await start_shim(
            runtime=other_shim(line), namespace="ns", id="a", bundle=tmp_path, events_address="/x"
        )


def test_flags_are_read_as_go_reads_them() -> None:
    flags, rest = parse_flags(["-id", "a", "--namespace=b=c", "-debug", "start", "-id"])
    assert (flags, rest) == ({"id": "a", "namespace": "b=c", "debug": ""}, ["start", "-id"])
    with pytest.raises(CommandError):
        parse_flags(["-x"])


def test_a_long_address_still_has_a_socket_and_a_pointer() -> None:
    group = Group("/run/wherry/shim", "n" * 76, "/" + "long/" * 100)
    assert len(group.socket) < 108
    assert len(Path(group.pointer).name) < 255


def test_the_client_imports_neither_the_server_nor_the_runtime() -> None:
    code = (
        "import sys, wherry.shim.client, wherry.shim.client.log;"
        "print(*(name for name in sys.modules if name.startswith("
        "('wherry.runtime', 'wherry.shim.server', 'wherry.shim.main'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
