"""Stop, kill, restart, remove, wait, rename, update: Docker's rules."""

import asyncio
from pathlib import Path

import pytest
from tests.engine.kitchen import interactive, logged, make, run

from wherry.engine import Conflict, Engine, InvalidRequest, NotFound, NotModified
from wherry.engine.config import ContainerConfig, HostConfig, RestartPolicy, UpdateConfig
from wherry.engine.containers import Container
from wherry.engine.events import Event
from wherry.engine.filters import Filters


async def running(engine: Engine, host: HostConfig | None = None) -> Container:
    container = await make(engine, "/loop.wasm", host=host)
    await engine.containers.start(container)
    return container


@pytest.mark.parametrize(("signal", "status"), [(None, 143), ("SIGINT", 130), ("9", 137)])
async def test_stop_ends_a_container_at_once(
    engine: Engine, signal: str | None, status: int
) -> None:
    container = await running(engine)
    assert container.state.running
    assert container.state.pid > 0
    await engine.containers.stop(container, signal=signal, grace=-1)
    state = container.state
    assert (state.status, state.running, state.pid) == ("exited", False, 0)
    assert state.exit_code == status
    with pytest.raises(NotModified):
        await engine.containers.stop(container)


async def test_stop_sends_the_configured_signal_and_then_kills(engine: Engine) -> None:
    config = ContainerConfig(cmd=["/loop.wasm"], stop_signal="SIGWINCH", stop_timeout=0)
    container = await make(engine, config=config)
    await engine.containers.start(container)
    signals = engine.events.subscribe(Filters({"event": ["kill"]}))
    await engine.containers.stop(container)
    assert container.state.exit_code == 137
    sent = [(await anext(signals)).actor.attributes["signal"] for _ in range(2)]
    assert sent == ["28", "9"]


async def test_kill_needs_a_running_container_and_a_known_signal(engine: Engine) -> None:
    container = await make(engine, "/loop.wasm")
    with pytest.raises(Conflict, match="is not running"):
        await engine.containers.kill(container)
    await engine.containers.start(container)
    with pytest.raises(InvalidRequest, match="Invalid signal: SIGNONSENSE"):
        await engine.containers.kill(container, "SIGNONSENSE")
    ending = engine.containers.wait(container)
    await engine.containers.kill(container, "SIGQUIT")
    assert (await ending).status_code == 131


async def test_pause_and_unpause(engine: Engine) -> None:
    container = await running(engine)
    await engine.containers.pause(container)
    assert (container.state.status, container.state.paused) == ("paused", True)
    with pytest.raises(Conflict, match="is already paused"):
        await engine.containers.pause(container)
    with pytest.raises(Conflict, match="paused"):
        await engine.containers.remove(container)
    await engine.containers.unpause(container)
    assert container.state.status == "running"
    with pytest.raises(Conflict, match="is not paused"):
        await engine.containers.unpause(container)
    await engine.containers.pause(container)
    await engine.containers.stop(container)
    assert container.state.exit_code == 143


async def test_restart_starts_again_also_what_does_not_run(engine: Engine) -> None:
    container = await running(engine, HostConfig(auto_remove=True))
    first = container.state.pid
    await engine.containers.restart(container)
    assert container.state.running
    assert container.state.pid != first
    stopped = await make(engine, "/loop.wasm")
    await engine.containers.restart(stopped)
    assert stopped.state.running


async def test_wait_conditions(engine: Engine) -> None:
    container = await make(engine, "/exit.wasm", "3")
    assert (await engine.containers.wait(container)).status_code == 0
    following = engine.containers.wait(container, "next-exit")
    gone = engine.containers.wait(container, "removed")
    await engine.containers.start(container)
    assert (await following).status_code == 3
    assert (await engine.containers.wait(container)).status_code == 3
    await engine.containers.remove(container)
    assert (await gone).status_code == 3
    with pytest.raises(InvalidRequest, match="invalid condition"):
        engine.containers.wait(container, "tomorrow")


async def test_auto_remove_leaves_nothing(engine: Engine) -> None:
    config = ContainerConfig(cmd=["/exit.wasm", "4"], volumes={"/data": {}})
    container = await make(engine, config=config, host=HostConfig(auto_remove=True))
    assert len(engine.volumes.list()) == 1
    gone = engine.containers.wait(container, "removed")
    await engine.containers.start(container)
    assert (await gone).status_code == 4
    assert list(engine.containers) == []
    assert engine.volumes.list() == []
    assert list((engine.root / "containers").iterdir()) == []


async def test_a_running_container_is_removed_only_by_force(engine: Engine) -> None:
    container = await running(engine)
    with pytest.raises(Conflict, match="cannot remove a running container"):
        await engine.containers.remove(container)
    await engine.containers.remove(container, force=True)
    with pytest.raises(NotFound, match="No such container"):
        engine.containers.get(container.id)


async def test_two_removals_at_once_are_one(engine: Engine) -> None:
    container = await running(engine)
    await asyncio.gather(*(engine.containers.remove(container, force=True) for _ in range(3)))
    assert list(engine.containers) == []


async def test_names_are_unique_and_can_be_given_again(engine: Engine) -> None:
    first = await make(engine, "/exit.wasm", name="first")
    with pytest.raises(Conflict, match=f'"/first" is already in use by container "{first.id}"'):
        await make(engine, "/exit.wasm", name="/first")
    await engine.containers.rename(first, "second")
    assert engine.containers.get("second") is first
    assert engine.containers.get(first.id[:9]) is first
    other = await make(engine, "/exit.wasm", name="first")
    with pytest.raises(Conflict):
        await engine.containers.rename(other, "second")
    assert other.name == "first"
    with pytest.raises(InvalidRequest, match="Invalid container name"):
        await make(engine, "/exit.wasm", name="a b")


async def test_a_container_that_cannot_be_made_leaves_its_name_free(engine: Engine) -> None:
    with pytest.raises(NotFound):
        await make(engine, image="nothing", name="name")
    host = HostConfig(binds=["/x:/data", "/y:/data"])
    with pytest.raises(InvalidRequest, match="Duplicate mount point: /data"):
        await make(engine, name="name", host=host)
    await make(engine, name="name")


async def test_on_failure_restarts_as_often_as_it_says(engine: Engine) -> None:
    policy = RestartPolicy(name="on-failure", maximum_retry_count=2)
    container = await make(engine, "/exit.wasm", "5", host=HostConfig(restart_policy=policy))
    deaths = engine.events.subscribe(Filters({"event": ["die"]}))
    await engine.containers.start(container)
    for _ in range(3):
        await anext(deaths)
    await _settled(engine, container)
    assert container.state.status == "exited"
    assert container.life.restart_count == 2


async def test_always_restarts_until_it_is_stopped(engine: Engine) -> None:
    policy = RestartPolicy(name="always")
    container = await make(engine, "/exit.wasm", host=HostConfig(restart_policy=policy))
    starts = engine.events.subscribe(Filters({"event": ["start"]}))
    await engine.containers.start(container)
    for _ in range(3):
        await anext(starts)
    assert engine.containers.busy
    with pytest.raises(Conflict):
        await engine.containers.remove(container)
    await engine.containers.stop(container)
    await _settled(engine, container)
    assert container.state.status == "exited"


async def test_kill_by_hand_is_no_reason_to_restart(engine: Engine) -> None:
    container = await running(engine, HostConfig(restart_policy=RestartPolicy(name="always")))
    ending = engine.containers.wait(container, "next-exit")
    await engine.containers.kill(container)
    await ending
    await _settled(engine, container)
    assert container.state.status == "exited"


async def test_events_tell_the_whole_life(engine: Engine) -> None:
    events = engine.events.subscribe(Filters({"type": ["container"]}))
    config = ContainerConfig(cmd=["/exit.wasm", "6"], labels={"tier": "test"})
    container = await make(engine, config=config, name="told")
    await run(engine, container)
    await engine.containers.remove(container)
    seen: list[Event] = []
    while not seen or seen[-1].action != "destroy":
        seen.append(await anext(events))
    assert [event.action for event in seen] == ["create", "attach", "start", "die", "destroy"]
    died = seen[3].actor
    assert died.id == container.id
    assert died.attributes | {"exitCode": "6", "name": "told", "tier": "test"} == died.attributes


async def test_update_changes_limits_and_policy(engine: Engine) -> None:
    container = await running(engine, HostConfig(memory=64 << 20))
    changes = UpdateConfig(
        memory=128 << 20, memory_swap=-1, restart_policy=RestartPolicy(name="always")
    )
    await engine.containers.update(container, changes)
    assert container.host.memory == 128 << 20
    assert container.host.restart_policy.name == "always"
    with pytest.raises(InvalidRequest, match="6MB"):
        await engine.containers.update(container, UpdateConfig(memory=1 << 20))
    await engine.containers.stop(container)


async def test_prune_removes_what_does_not_run(engine: Engine) -> None:
    alive = await running(engine)
    keep = await make(engine, config=ContainerConfig(cmd=["/exit.wasm"], labels={"keep": "yes"}))
    gone = await make(engine, "/exit.wasm")
    report = await engine.containers.prune(Filters({"label!": ["keep"]}))
    assert report.containers_deleted == [gone.id]
    assert {container.id for container in engine.containers} == {alive.id, keep.id}


async def test_what_runs_shows_in_top_and_stats(engine: Engine) -> None:
    container = await make(engine, config=interactive("/echo.wasm", "an argument"))
    with pytest.raises(Conflict, match="is not running"):
        await engine.containers.top(container)
    await engine.containers.start(container)
    top = await engine.containers.top(container)
    assert top.titles[:2] == ["UID", "PID"]
    row = dict(zip(top.titles, top.processes[0], strict=True))
    assert row["CMD"] == "/echo.wasm an argument"
    assert row["PID"] == str(container.state.pid)
    figures = [each async for each in engine.containers.stats(container, stream=False)]
    assert len(figures) == 1
    assert figures[0]["pids_stats"]["current"] >= 1
    assert figures[0]["cpu_stats"]["system_cpu_usage"] > 0
    await engine.containers.stop(container)
    assert await logged(engine, container) == ""


async def _settled(engine: Engine, container: Container) -> None:
    """Wait until the end of the latest run has been dealt with."""
    await engine.containers.wait(container)
    async with container.lock:
        pass


async def test_an_open_data_root_shows_nobody_what_containers_have(
    places: tuple[Path, Path],
) -> None:
    """Set-id programs that a container wrote, and what stands in its variables."""
    root, run = places
    root.mkdir()
    root.chmod(0o755)
    for left_open in ("containers", "volumes"):
        (root / left_open).mkdir(mode=0o711)
    engine = await Engine.open(root, run)
    try:
        shown = [path.name for path in root.iterdir() if path.stat().st_mode & 0o077]
    finally:
        await engine.close()
    assert shown == []
