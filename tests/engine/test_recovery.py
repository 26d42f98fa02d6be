"""An engine that is killed at any moment loses nothing, and leaves nothing behind."""

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cgroups import cgroups
from tests.engine.kitchen import environment, interactive, logged, make, make_image, run

from wherry.engine import Engine, EngineError, StateInUse
from wherry.engine.config import ContainerConfig, HostConfig, RestartPolicy
from wherry.engine.containers import Container
from wherry.shim.client import TaskClient, TaskError

PROJECT = Path(__file__).parent.parent.parent


@pytest.mark.root
@pytest.mark.parametrize("seed", range(6))
async def test_a_killed_engine_is_picked_up_where_it_was(
    places: tuple[Path, Path], seed: int
) -> None:
    root, run_folder = places
    engine = await Engine.open(*places)
    make_image(engine.store)
    await engine.close()
    dice = random.Random(seed)
    known: dict[str, str] = {}
    for turn in range(3):
        _live_and_die(root, run_folder, seed * 100 + turn, dice.randint(1, 60), known)
        engine = await Engine.open(*places)
        await _check(engine, known)
        await engine.close()
    engine = await Engine.open(*places)
    for container in list(engine.containers):
        await engine.containers.remove(container, force=True, volumes=True)
    await engine.close()


def _live_and_die(root: Path, run: Path, seed: int, lines: int, known: dict[str, str]) -> None:
    """Let a victim say `lines` lines and kill it; `known` is the last that was heard of each."""
    victim = subprocess.Popen(
        [sys.executable, "-m", "tests.engine.victim", str(root), str(run), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=os.environ | environment(root, run) | {"PYTHONPATH": f"{PROJECT}/src:{PROJECT}"},
    )
    assert victim.stdout is not None
    heard = [victim.stdout.readline() for _ in range(lines)]
    victim.kill()
    heard += victim.stdout.readlines()
    victim.wait()
    for line in heard:
        what, _, name = line.rstrip("\n").partition(" ")
        assert what != "failed", name
        assert name, "the victim died by itself"
        known[name] = what


async def _check(engine: Engine, known: dict[str, str]) -> None:
    found = {container.name: container for container in engine.containers}
    for name, what in known.items():
        if what in ("created", "starting", "running"):
            assert name in found, f"{name} was {what} and is gone"
        elif what == "removed":
            assert name not in found, f"{name} was removed and is back"
        if what == "running":
            assert found[name].state.running, f"{name} ran and does not any more"
    bundles = {path.name for path in (engine.root / "containers").iterdir()}
    assert bundles == {container.id for container in found.values()}
    volumes = {volume.name: volume for volume in engine.volumes.list()}
    assert {path.name for path in (engine.root / "volumes").iterdir()} == set(volumes)
    for name in volumes:
        if engine.volumes.is_anonymous(name):
            assert engine.volumes.users(name), "an anonymous volume that nobody has"
    for container in found.values():
        if not await _is_alive(engine, container):
            await engine.containers.wait(container)
            async with container.lock:
                pass  # its end is being dealt with
            if engine.shims.own is not None:
                await _no_task(engine.shims.own, container.id)


async def _is_alive(engine: Engine, container: Container) -> bool:
    """Whether it runs as its record says, and does not end by itself (or was killed to go)."""
    if not container.state.running or container.record.args != ["/loop.wasm"]:
        return False
    pid = container.state.pid
    assert engine.shims.own is not None
    found = await engine.shims.own.state(container.id)
    assert found.pid == pid
    return found.status == "running"


def _end(pid: int) -> None:
    """Kill a process and wait until it is dead."""
    process = os.pidfd_open(pid)
    signal.pidfd_send_signal(process, signal.SIGKILL)
    assert select.select([process], [], [], 60)[0]
    os.close(process)


async def _no_task(shim: TaskClient, id: str) -> None:
    """The shim forgets the task, perhaps only after it has made what the victim had asked for."""
    with pytest.raises(TaskError):
        for _ in range(1000):
            found = await shim.state(id)
            await asyncio.sleep(0.01)
        pytest.fail(f"a task that nobody wants: {found}")


@pytest.mark.root
async def test_a_running_container_outlives_its_engine(places: tuple[Path, Path]) -> None:
    engine = await Engine.open(*places)
    make_image(engine.store)
    container = await make(engine, config=interactive("/echo.wasm"), name="lives")
    attachment = engine.containers.attach(container, stdin=True, stdout=True)
    await engine.containers.start(container)
    await attachment.write(b"before\n")
    assert (await anext(attachment)).data == b"before\n"
    assert engine.busy
    await engine.close()

    engine = await Engine.open(*places)
    again = engine.containers.get("lives")
    assert again is not container
    assert again.state == container.state
    attachment = engine.containers.attach(again, stdin=True, stdout=True, logs=True)
    await attachment.write(b"after\n")
    await attachment.close_stdin()
    assert b"".join([data async for _, _, data in attachment]) == b"before\nafter\n"
    assert (await engine.containers.wait(again)).status_code == 0
    await engine.containers.remove(again)
    await engine.close()


@pytest.mark.root
async def test_an_end_that_nobody_saw_is_told_with_its_code(places: tuple[Path, Path]) -> None:
    engine = await Engine.open(*places)
    make_image(engine.store)
    kept = await make(engine, config=interactive("/echo.wasm"), name="kept")
    gone = await make(
        engine, config=interactive("/echo.wasm"), host=HostConfig(auto_remove=True), name="gone"
    )
    for container in (kept, gone):
        await engine.containers.start(container)
    await engine.close()
    for container in (kept, gone):
        _end(container.state.pid)

    engine = await Engine.open(*places)
    assert engine.containers.get("kept").state.exit_code == 137
    assert [container.name for container in engine.containers] == ["kept"]
    await engine.containers.remove(engine.containers.get("kept"))
    await engine.close()


@pytest.mark.root
async def test_a_dead_shim_ends_its_containers_and_a_new_one_takes_over(engine: Engine) -> None:
    container = await make(engine, config=interactive("/echo.wasm"))
    attachment = engine.containers.attach(container, stdout=True)
    ending = engine.containers.wait(container, "next-exit")
    await engine.containers.start(container)
    process, shim = os.pidfd_open(container.state.pid), engine.shims.own
    assert shim is not None
    _end(await shim.shim_pid(container.id))
    assert select.select([process], [], [], 60)[0], "the container outlives its shim"
    os.close(process)
    assert (await ending).status_code == 137
    assert [output async for output in attachment] == []
    assert container.state.error == "the shim that ran the container died"
    after = await make(engine, "/exit.wasm", "9")
    assert await run(engine, after) == (9, "")


@pytest.mark.root
@pytest.mark.parametrize("moment", ["attach", "start"])
async def test_a_shim_that_dies_while_a_container_starts_leaves_no_cgroup(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    container = await make(engine, "/loop.wasm")
    lifecycle = engine.containers._lifecycle
    attach = lifecycle.networking.attach

    async def die(container: Container, pid: int) -> None:
        assert engine.shims.own is not None
        assert cgroups(f"wherry/{container.id}")
        _end(await engine.shims.own.shim_pid(container.id))
        if moment == "attach":
            raise EngineError("the container has ended")
        await attach(container, pid)

    monkeypatch.setattr(lifecycle.networking, "attach", die)
    with pytest.raises(EngineError):
        await engine.containers.start(container)
    assert cgroups(f"wherry/{container.id}") == []


@pytest.mark.root
async def test_what_should_run_is_started_after_the_machine_was(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await Engine.open(*places)
    make_image(engine.store)
    for name in ("always", "unless-stopped", "no"):
        container = await make(
            engine,
            "/loop.wasm",
            name=name,
            host=HostConfig(restart_policy=RestartPolicy(name=name)),
        )
        await engine.containers.start(container)
        if name != "no":
            await engine.containers.stop(container)
    running = await make(
        engine,
        "/loop.wasm",
        name="ran",
        host=HostConfig(restart_policy=RestartPolicy(name="unless-stopped")),
    )
    await engine.containers.start(running)
    assert engine.shims.own is not None
    shim = await engine.shims.own.shim_pid(running.id)
    await engine.close()
    _end(shim)

    boot_id = places[0] / "boot_id"
    boot_id.write_text("another boot")
    monkeypatch.setattr("wherry.engine.containers.recovery._BOOT_ID", boot_id)
    engine = await Engine.open(*places)
    starts = {name: engine.containers.get(name) for name in ("always", "ran")}
    for container in starts.values():
        assert container.state.restarting or container.state.running
    assert engine.containers.get("unless-stopped").state.status == "exited"
    assert engine.containers.get("no").state.exit_code == 255
    for container in list(engine.containers):
        await engine.containers.remove(container, force=True)
    await engine.close()


async def test_a_second_engine_on_the_same_state_is_refused(engine: Engine) -> None:
    with pytest.raises(StateInUse, match="another wherryd works on"):
        await Engine.open(engine.root, engine.run)


async def test_a_volume_without_a_record_is_taken_in(places: tuple[Path, Path]) -> None:
    root, _ = places
    (root / "volumes" / "found" / "_data").mkdir(parents=True)
    (root / "volumes" / "found" / "_data" / "file").write_text("precious")
    (root / "containers" / "half-made").mkdir(parents=True)
    engine = await Engine.open(*places)
    assert [volume.name for volume in engine.volumes.list()] == ["found"]
    assert (engine.volumes.path("found") / "file").read_text() == "precious"
    assert list((root / "containers").iterdir()) == []
    await engine.close()


async def test_settings_survive(places: tuple[Path, Path]) -> None:
    engine = await Engine.open(*places)
    make_image(engine.store)
    config = ContainerConfig(cmd=["/exit.wasm"], labels={"a": "b"}, stop_timeout=3)
    container = await make(engine, config=config, name="one", host=HostConfig(memory=1 << 30))
    await engine.containers.rename(container, "two")
    await engine.close()
    engine = await Engine.open(*places)
    again = engine.containers.get("two")
    assert again.record == container.record
    assert again.life == container.life
    assert await logged(engine, again) == ""
    await engine.containers.remove(again)
    await engine.close()


async def test_what_was_left_half_made_in_the_store_goes(places: tuple[Path, Path]) -> None:
    root, _ = places
    engine = await Engine.open(*places)
    kept = engine.store.blobs.write("text/plain", b"a layer that only the build cache knows")
    await engine.close()
    (root / "images/ingest/half").write_bytes(b"half a blob")
    (root / "layers/ingest/half/fs/a").mkdir(parents=True)
    engine = await Engine.open(*places)
    await engine.close()
    assert list((root / "images/ingest").iterdir()) == []
    assert list((root / "layers/ingest").iterdir()) == []
    assert [*engine.store.blobs.digests()] == [kept.digest]
