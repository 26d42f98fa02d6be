"""The servers of pods, forked from a warm process."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from tests.shim.installed import Command, pid_of

from wherry.pids import process_start
from wherry.shim.client import ShimError
from wherry.shim.nursery import Nursery

POD = '{"annotations":{"io.kubernetes.cri.sandbox-id":"%s"}}'


async def start_pod(command: Command, name: str) -> str:
    return await command.start(command.bundle(name, POD % name), namespace="k8s.io")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


async def test_the_servers_of_pods_come_from_one_nursery(command: Command) -> None:
    servers = await asyncio.gather(*(start_pod(command, name) for name in ("p", "q", "r")))
    pids = {await pid_of(server) for server in servers}
    assert len(pids) == 3
    assert {parent(pid) for pid in pids} == {command.nursery()}


async def test_a_namespace_that_is_not_cris_needs_no_nursery(command: Command) -> None:
    await command.start(command.bundle("a"))
    assert command.nursery() == 0


async def test_servers_outlive_their_nursery_and_the_next_one_gets_another(
    command: Command,
) -> None:
    old = await start_pod(command, "p")
    command.end_nursery()
    new = await start_pod(command, "q")
    assert await pid_of(old) > 0
    assert await pid_of(new) > 0
    assert parent(await pid_of(new)) == command.nursery() != 0


async def test_a_pods_server_holds_nothing_of_its_nursery(command: Command) -> None:
    await start_pod(command, "p")
    pid = await pid_of(await start_pod(command, "q"))
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    sockets = {link for link in links if link.startswith("socket:")}
    nursery = {os.readlink(entry) for entry in Path(f"/proc/{command.nursery()}/fd").iterdir()}
    assert not sockets & nursery
    assert not [link for link in links if "pidfd" in link]
    assert not [link for link in links if link.startswith("pipe:")]
    assert os.getsid(pid) == pid


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


async def test_ps_shows_which_pod_a_process_serves(command: Command) -> None:
    servers = {name: await pid_of(await start_pod(command, name)) for name in ("p", "q")}
    for name, pid in servers.items():
        of_pod = ["-namespace", "k8s.io", "-id", name, "-address", "/c.sock"]
        assert command_line(pid) == ["containerd-shim-wherry-v1", *of_pod]
        (zygote,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert command_line(int(zygote)) == ["wherry-zygote", *of_pod]
    assert command_line(command.nursery()) == ["wherry-shim", "nursery"]


async def test_each_pods_server_has_a_zygote_of_its_own(command: Command) -> None:
    pids = [await pid_of(await start_pod(command, name)) for name in ("p", "q")]
    for pid in pids:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert len(children) == 1
        assert process_start(int(children[0]))


async def test_nonsense_does_not_end_a_nursery(command: Command) -> None:
    await start_pod(command, "p")
    (place,) = (command.run / "shim").glob("nursery-*[!g]")
    for packet in (b"", b"nonsense", b"a\0b\0c\0d"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.connect(str(place))
            stranger.send(packet)
            assert stranger.recv(16) == b""
    before = command.nursery()
    await start_pod(command, "q")
    assert command.nursery() == before


async def test_a_nursery_that_cannot_start_says_where_it_is_told(command: Command) -> None:
    slow = command.folder / "bin" / "wherry-shim"
    broken = "import sys\nsys.modules['wherry.runtime.container'] = None\n"
    slow.write_text(slow.read_text().replace("from wherry", f"{broken}from wherry"))
    with pytest.raises(ShimError, match=r"the nursery ended as soon as it was started: .*\.log"):
        await start_pod(command, "p")


def test_a_nursery_without_servers_leaves_unless_somebody_asks(tmp_path: Path) -> None:
    place = tmp_path / "nursery-x"
    (tmp_path / "nursery-x.log").touch()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(place))
    listener.listen()
    child = os.fork()
    if not child:
        try:
            Nursery(str(tmp_path), str(place), listener, patience=1).serve()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
