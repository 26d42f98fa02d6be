"""The life of a task, from create to delete, as a client of the shim sees it."""

import asyncio
import os
import signal
import time

import pytest
from tests.shim.conftest import FakeShim

from wherry.oci.runtime import Memory, Mount, Resources
from wherry.runtime import LaunchError
from wherry.shim import messages
from wherry.shim.client import Exit, TaskError
from wherry.shim.client.log import LogReader

DEADLY = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGKILL", "SIGRTMIN"]


async def run(shim: FakeShim, script: str, id: str = "a", config: str = "{}") -> Exit:
    await shim.client.create(id=id, bundle=shim.bundle(script, config))
    await shim.client.start(id)
    return await shim.client.wait(id)


async def code_of(call: object) -> str:
    with pytest.raises(TaskError) as failure:
        await call  # type: ignore[misc]
    return failure.value.code


async def test_a_task_goes_from_created_to_deleted(shim: FakeShim) -> None:
    before = time.time_ns()
    bundle = shim.bundle("exit 7")
    pid = await shim.client.create(id="a", bundle=bundle)
    assert (await shim.client.state("a"))[:2] == ("created", pid)
    assert await shim.client.start("a") == pid
    exit = await shim.client.wait("a")
    assert exit.status == 7
    assert before < exit.at < time.time_ns()
    assert await shim.client.state("a") == ("stopped", pid, 7, exit.at, bundle)
    assert await shim.client.delete("a") == exit
    assert await code_of(shim.client.state("a")) == "NOT_FOUND"
    assert shim.launcher.made["a"].cgroup.deleted
    assert shim.told() == ["TaskCreate", "TaskStart", "TaskExit", "TaskDelete"]
    assert shim.events[2:] == [
        messages.TaskExit(container_id="a", id="a", pid=pid, exit_status=7, exited_at=exit.at),
        messages.TaskDelete(container_id="a", pid=pid, exit_status=7, exited_at=exit.at),
    ]


async def test_the_exit_status_is_kept_until_delete(shim: FakeShim) -> None:
    await run(shim, "exit 3")
    for _ in range(3):
        assert (await shim.client.wait("a")).status == 3


async def test_a_stopped_task_still_has_a_pid_so_that_containerd_keeps_it(shim: FakeShim) -> None:
    await run(shim, "exit 3")
    assert await shim.client.pids("a") == [shim.launcher.made["a"].pid]


@pytest.mark.parametrize("name", DEADLY)
async def test_a_signal_that_ends_processes_ends_it_and_is_reported(
    shim: FakeShim, name: str
) -> None:
    number = getattr(signal, name)
    await shim.client.create(id="a", bundle=shim.bundle("trap '' TERM INT; while :; do :; done"))
    await shim.client.start("a")
    await shim.client.kill("a", number)
    assert (await shim.client.wait("a")).status == 128 + number


@pytest.mark.parametrize("name", ["SIGCHLD", "SIGWINCH", "SIGCONT", "SIGURG"])
async def test_a_signal_that_ends_nothing_ends_nothing(shim: FakeShim, name: str) -> None:
    fifo = shim.fifo("stdin")
    await shim.client.create(id="a", bundle=shim.bundle("read -r x; exit 5"), stdin=fifo)
    await shim.client.start("a")
    await shim.client.kill("a", getattr(signal, name))
    with open(fifo, "w") as file:
        file.write("go\n")
    assert (await shim.client.wait("a")).status == 5


async def test_a_signal_sent_to_the_process_itself_is_translated_too(shim: FakeShim) -> None:
    await shim.client.create(id="a", bundle=shim.bundle("sleep 1000"))
    await shim.client.start("a")
    heard = shim.launcher.made["a"].on_signal
    assert heard is not None
    heard(signal.SIGINT)
    assert (await shim.client.wait("a")).status == 130


async def test_the_first_of_several_signals_is_reported(shim: FakeShim) -> None:
    await shim.client.create(id="a", bundle=shim.bundle("sleep 1000"))
    await shim.client.start("a")
    await asyncio.gather(
        shim.client.kill("a", signal.SIGTERM), shim.client.kill("a", signal.SIGKILL),
        return_exceptions=True,
    )  # fmt: skip
    assert (await shim.client.wait("a")).status == 143


async def test_a_process_killed_from_outside_is_reported_as_killed(shim: FakeShim) -> None:
    await shim.client.create(id="a", bundle=shim.bundle("sleep 1000"))
    await shim.client.start("a")
    os.kill(shim.launcher.made["a"].pid, signal.SIGKILL)
    assert (await shim.client.wait("a")).status == 137
    assert "TaskOOM" not in shim.told()


async def test_death_of_refused_memory_is_told_as_out_of_memory(shim: FakeShim) -> None:
    await shim.client.create(id="a", bundle=shim.bundle("exit 134"))
    shim.launcher.made["a"].refused_memory = True
    await shim.client.start("a")
    assert (await shim.client.wait("a")).status == 134
    assert shim.told()[-2:] == ["TaskOOM", "TaskExit"]


async def test_out_of_memory_is_told_before_the_exit(shim: FakeShim) -> None:
    await shim.client.create(id="a", bundle=shim.bundle("sleep 1000"))
    await shim.client.start("a")
    process = shim.launcher.made["a"]
    process.cgroup.oom_kills = 1
    os.kill(process.pid, signal.SIGKILL)
    assert (await shim.client.wait("a")).status == 137
    assert shim.told()[-2:] == ["TaskOOM", "TaskExit"]


async def test_a_task_that_was_never_started_can_be_killed_and_deleted(shim: FakeShim) -> None:
    for id in ("a", "b"):
        await shim.client.create(id=id, bundle=shim.bundle("exit 0"))
    await shim.client.kill("a", signal.SIGTERM)
    assert (await shim.client.wait("a")).status == 143
    await shim.client.delete("a")
    assert (await shim.client.delete("b")).status == 137


async def test_a_time_limit_ends_it_with_124_and_a_message(shim: FakeShim) -> None:
    path, stdout, stderr = shim.log("log")
    config = '{"annotations": {"io.wherry.timeout": "0.05"}}'
    bundle = shim.bundle("sleep 1000", config)
    await shim.client.create(id="a", bundle=bundle, stdout=stdout, stderr=stderr)
    await shim.client.start("a")
    assert (await shim.client.wait("a")).status == 124
    (record,) = LogReader(path).records()
    assert record.data == b"wherry: stopped after 0.05 s, its time limit (--timeout)\n"


async def test_the_message_of_a_time_limit_reaches_a_fifo(shim: FakeShim) -> None:
    fifo = shim.fifo("stderr")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    config = '{"annotations": {"io.wherry.timeout": "0.05"}}'
    await shim.client.create(id="a", bundle=shim.bundle("sleep 1000", config), stderr=fifo)
    await shim.client.start("a")
    await shim.client.wait("a")
    assert b"time limit" in os.read(reader, 4096)
    os.close(reader)


async def test_a_task_that_ends_in_time_is_not_touched(shim: FakeShim) -> None:
    config = '{"annotations": {"io.wherry.timeout": "1000"}}'
    assert (await run(shim, "exit 0", config=config)).status == 0


async def test_calls_in_the_wrong_order_are_refused(shim: FakeShim) -> None:
    client = shim.client
    assert await code_of(client.start("a")) == "NOT_FOUND"
    assert await code_of(client.delete("a")) == "NOT_FOUND"
    assert await code_of(client.wait("a")) == "NOT_FOUND"
    await client.create(id="a", bundle=shim.bundle("sleep 1000"))
    assert await code_of(client.create(id="a", bundle=shim.bundle(""))) == "ALREADY_EXISTS"
    assert await code_of(client.pause("a")) == "FAILED_PRECONDITION"
    await client.start("a")
    assert await code_of(client.start("a")) == "FAILED_PRECONDITION"
    assert await code_of(client.delete("a")) == "FAILED_PRECONDITION"
    assert await code_of(client.resume("a")) == "FAILED_PRECONDITION"
    assert await code_of(client.kill("a", 65)) == "INVALID_ARGUMENT"
    assert await code_of(client.start("a", "e")) == "NOT_FOUND"
    await client.kill("a", signal.SIGKILL)
    await client.wait("a")
    assert await code_of(client.kill("a", signal.SIGTERM)) == "NOT_FOUND"
    assert await code_of(client.start("a")) == "FAILED_PRECONDITION"


async def test_of_two_deletes_at_once_one_succeeds(shim: FakeShim) -> None:
    await run(shim, "exit 4")
    await shim.client.create(id="b", bundle=shim.bundle(""))
    for id in ("a", "b"):
        results = await asyncio.gather(
            *(shim.client.delete(id) for _ in range(2)), return_exceptions=True
        )
        kinds = sorted(type(result).__name__ for result in results)
        assert kinds == ["Exit", "TaskError"], results
    assert shim.told().count("TaskDelete") == 2


async def test_of_two_creates_of_one_id_at_once_one_succeeds(shim: FakeShim) -> None:
    shim.launcher.hold = asyncio.Event()
    first = asyncio.ensure_future(shim.client.create(id="a", bundle=shim.bundle("")))
    second = asyncio.ensure_future(shim.client.create(id="a", bundle=shim.bundle("")))
    assert await code_of(second) == "ALREADY_EXISTS"
    assert await code_of(shim.client.state("a")) == "NOT_FOUND"
    shim.launcher.hold.set()
    await first


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("exit_code", "code"), [(125, "UNKNOWN"), (126, "INVALID_ARGUMENT"), (127, "NOT_FOUND")]
)
async def test_a_container_that_cannot_be_made_leaves_nothing(
    shim: FakeShim, exit_code: int, code: str
) -> None:
    before = os.listdir("/proc/self/fd")
    shim.launcher.refuse = LaunchError("main.wasm: not a module", exit_code)
    fifos = [shim.fifo(name) for name in ("stdin", "stdout", "stderr")]
    bundle = shim.bundle("")
    call = shim.client.create(
        id="a", bundle=bundle, stdin=fifos[0], stdout=fifos[1], stderr=fifos[2]
    )
    assert await code_of(call) == code
    shim.launcher.refuse = None
    assert await code_of(shim.client.state("a")) == "NOT_FOUND"
    assert os.listdir("/proc/self/fd") == before
    assert sorted(os.listdir(bundle)) == ["config.json", "script"]
    assert shim.told() == []
    assert (await run(shim, "exit 0")).status == 0


@pytest.mark.parametrize("config", ["", "{", "[]", '{"annotations": {"io.wherry.timeout": "x"}}'])
async def test_nonsense_in_a_bundle_is_named(shim: FakeShim, config: str) -> None:
    call = shim.client.create(id="a", bundle=shim.bundle("", config))
    assert await code_of(call) == "INVALID_ARGUMENT"


async def test_a_missing_bundle_is_named(shim: FakeShim) -> None:
    with pytest.raises(TaskError, match=r"cannot read /nowhere/config.json: No such file"):
        await shim.client.create(id="a", bundle="/nowhere")


async def test_the_launcher_gets_the_mounts_of_the_root_filesystem(shim: FakeShim) -> None:
    mounts = [Mount(destination="", type="overlay", source="overlay", options=["lowerdir=/a"])]
    await shim.client.create(id="a", bundle=shim.bundle(""), rootfs=mounts)
    assert shim.launcher.requests[0].rootfs == tuple(mounts)


async def test_pause_and_resume(shim: FakeShim) -> None:
    await shim.client.create(id="a", bundle=shim.bundle("sleep 1000"))
    await shim.client.start("a")
    await shim.client.pause("a")
    assert (await shim.client.state("a")).status == "paused"
    assert shim.launcher.made["a"].cgroup.frozen
    await shim.client.resume("a")
    assert (await shim.client.state("a")).status == "running"
    assert shim.told()[-2:] == ["TaskPaused", "TaskResumed"]


async def test_a_paused_task_can_be_killed(shim: FakeShim) -> None:
    await shim.client.create(id="a", bundle=shim.bundle("sleep 1000"))
    await shim.client.start("a")
    await shim.client.pause("a")
    await shim.client.kill("a", signal.SIGTERM)
    assert (await shim.client.wait("a")).status == 143


async def test_limits_can_be_changed(shim: FakeShim) -> None:
    await shim.client.create(id="a", bundle=shim.bundle("sleep 1000"))
    limits = Resources(memory=Memory(limit=1 << 20))
    await shim.client.update("a", limits)
    assert shim.launcher.made["a"].cgroup.updates == [limits]


async def test_the_note_in_the_bundle_is_there_while_the_task_is(shim: FakeShim) -> None:
    bundle = shim.bundle("exit 0")
    pid = await shim.client.create(id="a", bundle=bundle)
    note = os.readlink(f"{bundle}/wherry-task").split()
    assert (note[0], note[2]) == (str(pid), f"/fake/{pid}")
    await shim.client.start("a")
    await shim.client.wait("a")
    await shim.client.delete("a")
    assert not os.path.lexists(f"{bundle}/wherry-task")


async def test_a_quiet_container_costs_three_descriptors(shim: FakeShim) -> None:
    before = len(os.listdir("/proc/self/fd"))
    fakes_own = 1  # what the fake process is started with
    _, stdout, stderr = shim.log("log")
    for id in ("a", "b"):
        await shim.client.create(id=id, bundle=shim.bundle(""), stdout=stdout, stderr=stderr)
    recently_written_logs = 2
    used = len(os.listdir("/proc/self/fd")) - before - recently_written_logs
    assert used == 2 * (3 + fakes_own)
