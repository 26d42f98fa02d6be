"""Further processes of a task, from exec to delete, as a client of the shim sees them."""

import asyncio
import gc
import itertools
import os
import signal
from pathlib import Path

import pytest
from tests.shim.conftest import FakeShim
from tests.shim.test_tasks import DEADLY, code_of

from wherry.oci import encode
from wherry.oci.runtime import ConsoleSize, Process, User
from wherry.runtime import ContainerEnded, LaunchError
from wherry.shim import messages
from wherry.shim.client import TaskError
from wherry.shim.client.log import LogReader
from wherry.shim.server import readers

FOREVER = "while :; do sleep 1000; done"


def process(script: str, **more: object) -> bytes:
    return encode(Process(args=[script], cwd="/", **more))  # type: ignore[arg-type]


async def running(shim: FakeShim, script: str = FOREVER) -> int:
    """Task "a" runs; its pid."""
    await shim.client.create(id="a", bundle=shim.bundle(script))
    return await shim.client.start("a")


async def run(shim: FakeShim, script: str, id: str = "e") -> int:
    await shim.client.exec("a", id, process(script))
    await shim.client.start("a", id)
    return (await shim.client.wait("a", id)).status


async def test_a_process_goes_from_added_to_deleted(shim: FakeShim) -> None:
    client = shim.client
    first = await running(shim)
    bundle = (await client.state("a")).bundle
    await client.exec("a", "e", process("exit 7"))
    assert await client.state("a", "e") == ("created", 0, 0, 0, bundle)
    pid = await client.start("a", "e")
    assert pid not in (0, first)
    exit = await client.wait("a", "e")
    assert exit.status == 7
    assert await client.state("a", "e") == ("stopped", pid, 7, exit.at, bundle)
    assert (await client.state("a")).status == "running"
    assert await client.delete("a", "e") == exit
    assert await code_of(client.state("a", "e")) == "NOT_FOUND"
    assert not shim.launcher.made["a"].cgroup.deleted
    assert shim.events[2:] == [
        messages.TaskExecAdded(container_id="a", exec_id="e"),
        messages.TaskExecStarted(container_id="a", exec_id="e", pid=pid),
        messages.TaskExit(container_id="a", id="e", pid=pid, exit_status=7, exited_at=exit.at),
    ]


async def test_it_is_made_as_it_was_described(shim: FakeShim) -> None:
    await running(shim)
    wanted = Process(args=["exit 0"], cwd="/work", env=["A=b"], user=User(uid=7, gid=8))
    await shim.client.exec("a", "e", encode(wanted))
    assert shim.launcher.exec_requests == []
    await shim.client.start("a", "e")
    (request,) = shim.launcher.exec_requests
    assert request.process == wanted
    assert request.container.pid == shim.launcher.made["a"].pid
    assert request.bundle == shim.launcher.requests[0].bundle


async def test_its_streams_are_its_own(shim: FakeShim) -> None:
    await running(shim)
    path, stdout, stderr = shim.log("log")
    stdin = shim.fifo("stdin")
    script = "cat; echo to stderr >&2"
    await shim.client.exec("a", "e", process(script), stdin=stdin, stdout=stdout, stderr=stderr)
    await shim.client.start("a", "e")
    Path(stdin).write_text("from stdin\n")
    await shim.client.close_io("a", "e")
    await shim.client.wait("a", "e")
    records = [(record.stream, record.data) for record in LogReader(path).records()]
    assert records == [(1, b"from stdin\n"), (2, b"to stderr\n")]


async def test_output_goes_to_a_file(shim: FakeShim, tmp_path: Path) -> None:
    await running(shim)
    file = tmp_path / "output"
    await shim.client.exec("a", "e", process("echo hello"), stdout=f"file://{file}")
    await shim.client.start("a", "e")
    await shim.client.wait("a", "e")
    assert file.read_text() == "hello\n"


async def test_without_stdin_it_reads_nothing(shim: FakeShim) -> None:
    await running(shim)
    assert await run(shim, "read -r line || exit 9") == 9


async def test_stdin_that_was_closed_before_the_start_is_closed(shim: FakeShim) -> None:
    await running(shim)
    stdin = shim.fifo("stdin")
    await shim.client.exec("a", "e", process("read -r line || exit 9"), stdin=stdin)
    await shim.client.close_io("a", "e")
    await shim.client.start("a", "e")
    assert (await shim.client.wait("a", "e")).status == 9


async def test_a_terminal_has_the_size_asked_for_and_is_resized(shim: FakeShim) -> None:
    await running(shim)
    path, stdout, _ = shim.log("log")
    stdin = shim.fifo("stdin")
    script = "stty size; read -r line; stty size"
    spec = process(script, console_size=ConsoleSize(width=91, height=17))
    await shim.client.exec("a", "e", spec, stdin=stdin, stdout=stdout, terminal=True)
    await shim.client.start("a", "e")
    records = LogReader(path).follow()
    seen = (await anext(records)).data
    await shim.client.resize("a", 100, 30, "e")
    Path(stdin).write_text("go\n")
    await shim.client.wait("a", "e")
    await shim.client.delete("a", "e")
    seen += b"".join([record.data async for record in records])
    assert seen.split(b"\r\n") == [b"17 91", b"go", b"30 100", b""]
    assert shim.launcher.exec_requests[0].process.terminal


@pytest.mark.parametrize("name", DEADLY)
async def test_a_signal_ends_it_alone_and_is_reported(shim: FakeShim, name: str) -> None:
    await running(shim)
    await shim.client.exec("a", "e", process(f"trap '' TERM INT; {FOREVER}"))
    await shim.client.start("a", "e")
    number = getattr(signal, name)
    await shim.client.kill("a", number, exec_id="e")
    assert (await shim.client.wait("a", "e")).status == 128 + number
    assert (await shim.client.state("a")).status == "running"


async def test_a_signal_to_all_ends_all(shim: FakeShim) -> None:
    await running(shim)
    for id in ("e", "f"):
        await shim.client.exec("a", id, process(FOREVER))
        await shim.client.start("a", id)
    await shim.client.kill("a", signal.SIGTERM, all=True)
    for id in ("", "e", "f"):
        assert (await shim.client.wait("a", id)).status == 143
    assert [(event.id, event.exit_status) for event in exits(shim)][-1] == ("a", 143)


def open_descriptors() -> int:
    gc.collect()  # what event loops of earlier tests held
    return len(os.listdir("/proc/self/fd"))


def exits(shim: FakeShim) -> list[messages.TaskExit]:
    return [event for event in shim.events if isinstance(event, messages.TaskExit)]


async def test_the_end_of_the_task_ends_them_and_is_told_last(shim: FakeShim) -> None:
    await running(shim)
    for id in ("e", "f", "g"):
        await shim.client.exec("a", id, process(FOREVER))
    await shim.client.start("a", "e")
    await shim.client.start("a", "f")
    await shim.client.kill("a", signal.SIGTERM)
    assert (await shim.client.wait("a")).status == 143
    assert sorted((event.id, event.exit_status) for event in exits(shim)[:2]) == [
        ("e", 137),
        ("f", 137),
    ]
    assert [event.id for event in exits(shim)][2:] == ["a"]
    assert (await shim.client.state("a", "e")).status == "stopped"
    assert await code_of(shim.client.start("a", "g")) == "FAILED_PRECONDITION"


async def test_deleting_a_task_forgets_its_processes_and_all_they_held(shim: FakeShim) -> None:
    await running(shim)
    await run(shim, "exit 0", "done")
    _, stdout, stderr = shim.log("log")
    await shim.client.exec("a", "added", process(""), stdout=stdout, stderr=stderr)
    await shim.client.kill("a", signal.SIGKILL)
    await shim.client.wait("a")
    await shim.client.delete("a")
    assert await code_of(shim.client.state("a", "done")) == "NOT_FOUND"
    assert await code_of(shim.client.exec("a", "e", process(""))) == "NOT_FOUND"


async def test_an_id_in_use_is_refused_and_one_that_was_deleted_is_free(shim: FakeShim) -> None:
    await running(shim)
    await run(shim, "exit 3")
    assert await code_of(shim.client.exec("a", "e", process(""))) == "ALREADY_EXISTS"
    await shim.client.delete("a", "e")
    assert await run(shim, "exit 4") == 4


async def test_calls_in_the_wrong_order_are_refused(shim: FakeShim) -> None:
    client = shim.client
    assert await code_of(client.exec("a", "e", process(""))) == "NOT_FOUND"
    await running(shim)
    for call in (client.start, client.state, client.wait, client.delete, client.close_io):
        assert await code_of(call("a", "e")) == "NOT_FOUND"
    await client.exec("a", "e", process(FOREVER))
    assert await code_of(client.kill("a", signal.SIGTERM, exec_id="e")) == "FAILED_PRECONDITION"
    await client.resize("a", 80, 25, "e")
    await client.start("a", "e")
    assert await code_of(client.start("a", "e")) == "FAILED_PRECONDITION"
    assert await code_of(client.delete("a", "e")) == "FAILED_PRECONDITION"
    await client.kill("a", signal.SIGKILL, exec_id="e")
    await client.wait("a", "e")
    assert await code_of(client.kill("a", signal.SIGTERM, exec_id="e")) == "NOT_FOUND"
    assert await code_of(client.start("a", "e")) == "FAILED_PRECONDITION"


async def test_one_that_was_never_started_can_be_deleted(shim: FakeShim) -> None:
    await running(shim)
    await shim.client.exec("a", "e", process("exit 0"))
    waiting = asyncio.ensure_future(shim.client.wait("a", "e"))
    await shim.client.state("a", "e")
    await shim.client.delete("a", "e")
    await waiting
    assert shim.launcher.exec_requests == []


async def test_a_stopped_task_takes_no_process(shim: FakeShim) -> None:
    await running(shim, "exit 0")
    await shim.client.wait("a")
    with pytest.raises(TaskError, match=r"container a.*has ended") as refused:
        await shim.client.exec("a", "e", process(""))
    assert refused.value.code == "FAILED_PRECONDITION"


async def test_a_paused_task_takes_no_process(shim: FakeShim) -> None:
    await running(shim)
    await shim.client.exec("a", "added", process(""))
    await shim.client.exec("a", "runs", process(FOREVER))
    await shim.client.start("a", "runs")
    await shim.client.pause("a")
    with pytest.raises(TaskError, match=r"container a.*is paused") as refused:
        await shim.client.exec("a", "e", process(""))
    assert refused.value.code == "FAILED_PRECONDITION"
    assert await code_of(shim.client.start("a", "added")) == "FAILED_PRECONDITION"
    assert (await shim.client.state("a", "runs")).status == "paused"
    await shim.client.resume("a")
    assert (await shim.client.state("a", "runs")).status == "running"
    assert (await shim.client.state("a", "added")).status == "created"
    await shim.client.start("a", "added")
    assert (await shim.client.wait("a", "added")).status == 0


@pytest.mark.parametrize(
    ("exit_code", "code", "words"),
    [
        (127, "NOT_FOUND", "no such file or directory"),
        (126, "INVALID_ARGUMENT", "permission denied"),
        (125, "UNKNOWN", "because"),
    ],
)
async def test_one_that_cannot_be_made_says_why_in_dockers_words_and_is_over(
    shim: FakeShim, exit_code: int, code: str, words: str
) -> None:
    await running(shim)
    shim.launcher.refuse = LaunchError("because", exit_code)
    await shim.client.exec("a", "e", process(""))
    waiting = asyncio.ensure_future(shim.client.wait("a", "e"))
    with pytest.raises(TaskError, match="because") as refused:
        await shim.client.start("a", "e")
    assert refused.value.code == code
    assert words in refused.value.message
    assert (await waiting).status == exit_code
    assert (await shim.client.delete("a", "e")).status == exit_code
    assert "TaskExit" not in shim.told() and "TaskExecStarted" not in shim.told()


async def test_streams_that_cannot_be_opened_are_named(shim: FakeShim) -> None:
    await running(shim)
    await shim.client.exec("a", "e", process(""), stdin="/no/such/fifo")
    with pytest.raises(TaskError, match="/no/such/fifo") as refused:
        await shim.client.start("a", "e")
    assert refused.value.code == "INVALID_ARGUMENT"
    await shim.client.delete("a", "e")


@pytest.mark.parametrize("spec", [b"", b"{", b"[]", b'{"args": 3}'])
async def test_a_process_described_by_nonsense_is_refused(shim: FakeShim, spec: bytes) -> None:
    await running(shim)
    assert await code_of(shim.client.exec("a", "e", spec)) == "INVALID_ARGUMENT"
    assert await code_of(shim.client.state("a", "e")) == "NOT_FOUND"


async def test_a_task_that_ends_while_a_process_is_made_for_it(shim: FakeShim) -> None:
    await running(shim)
    await shim.client.exec("a", "e", process(FOREVER))
    shim.launcher.hold = asyncio.Event()
    starting = asyncio.ensure_future(shim.client.start("a", "e"))
    while not shim.launcher.exec_requests:
        await shim.client.state("a")
    assert await code_of(shim.client.delete("a", "e")) == "FAILED_PRECONDITION"
    os.kill(shim.launcher.made["a"].pid, signal.SIGKILL)
    for number in itertools.count():  # until the shim has seen its end
        try:
            await shim.client.exec("a", f"more-{number}", process(""))
        except TaskError:
            break
    assert exits(shim) == []
    shim.launcher.refuse = ContainerEnded("the container has ended")
    shim.launcher.hold.set()
    assert await code_of(starting) == "FAILED_PRECONDITION"
    assert (await shim.client.wait("a")).status == 137
    assert [event.id for event in exits(shim)] == ["a"]


async def test_processes_are_listed_with_their_ids(shim: FakeShim) -> None:
    pid = await running(shim)
    await shim.client.exec("a", "e", process(FOREVER))
    further = await shim.client.start("a", "e")
    assert await shim.client.pids("a") == [pid, further]
    request = messages.TaskRequest(id="a")
    answer = await shim.client._call("Pids", request, messages.PidsResponse)
    ids = {
        one.pid: messages.ProcessDetails.decode(one.info.value).exec_id if one.info else ""
        for one in answer.processes
    }
    assert ids == {pid: "", further: "e"}


async def test_out_of_memory_in_one_is_told_before_its_exit(shim: FakeShim) -> None:
    await running(shim)
    await shim.client.exec("a", "e", process(FOREVER))
    pid = await shim.client.start("a", "e")
    shim.launcher.made["a"].cgroup.oom_kills = 1
    os.kill(pid, signal.SIGKILL)
    assert (await shim.client.wait("a", "e")).status == 137
    assert shim.told()[-2:] == ["TaskOOM", "TaskExit"]
    assert (await shim.client.state("a")).status == "running"


async def test_a_hundred_leave_no_descriptor_behind(shim: FakeShim) -> None:
    await running(shim)
    log = shim.log("log")
    before = open_descriptors()
    for number in range(100):
        id = str(number)
        stdin = shim.fifo(f"stdin-{number}") if number % 3 else ""
        spec = process("exit 0" if number % 4 else FOREVER)
        terminal = number % 5 == 0
        await shim.client.exec(
            "a", id, spec, stdin=stdin, stdout=log[1], stderr=log[2], terminal=terminal
        )
        if number % 7:
            shim.launcher.refuse = LaunchError("no") if number % 11 == 0 else None
            try:
                await shim.client.start("a", id)
            except TaskError:
                assert shim.launcher.refuse
            else:
                if number % 4 == 0:
                    await shim.client.kill("a", signal.SIGKILL, exec_id=id)
            await shim.client.wait("a", id)
        await shim.client.delete("a", id)
    assert open_descriptors() <= before


async def test_one_that_ends_at_once_has_met_its_reader(shim: FakeShim) -> None:
    await running(shim)
    stdout = shim.fifo("stdout")
    await shim.client.exec("a", "e", process("echo hello"), stdout=stdout)
    starting = asyncio.ensure_future(shim.client.start("a", "e"))
    for _ in range(3):
        assert (await shim.client.state("a", "e")).pid == 0
    assert await asyncio.to_thread(Path(stdout).read_text) == "hello\n"
    await starting
    assert (await shim.client.wait("a", "e")).status == 0


async def test_its_end_is_told_when_its_output_has_been_read(
    shim: FakeShim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_READING", 60.0)
    await running(shim)
    stdout = shim.fifo("stdout")
    reader = os.open(stdout, os.O_RDONLY | os.O_NONBLOCK)
    await shim.client.exec("a", "e", process("echo hello"), stdout=stdout)
    pid = await shim.client.start("a", "e")
    while Path(f"/proc/{pid}").exists():
        await shim.client.state("a")
    assert (await shim.client.state("a", "e")).status == "running"
    assert os.read(reader, 100) == b"hello\n"
    assert (await shim.client.wait("a", "e")).status == 0
    os.close(reader)


async def test_a_reader_that_reads_nothing_holds_nothing_up_for_long(
    shim: FakeShim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_READING", 0.01)
    await running(shim)
    stdout = shim.fifo("stdout")
    reader = os.open(stdout, os.O_RDONLY | os.O_NONBLOCK)
    await shim.client.exec("a", "e", process("echo hello"), stdout=stdout)
    await shim.client.start("a", "e")
    assert (await shim.client.wait("a", "e")).status == 0
    os.close(reader)


async def test_nobody_has_to_read(shim: FakeShim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_PATIENCE", 0.01)
    await running(shim)
    before = open_descriptors()
    stdout = shim.fifo("stdout")
    await shim.client.exec("a", "e", process("echo hello"), stdout=stdout)
    await shim.client.start("a", "e")
    assert (await shim.client.wait("a", "e")).status == 0
    await shim.client.delete("a", "e")
    assert open_descriptors() <= before
