"""Containers that cannot be made or started: one line, the right exit code, nothing left."""

import sys
from pathlib import Path

import pytest
from tests.engine.kitchen import make, make_image, run

from wherry import linux_runtime
from wherry.engine import Engine, EngineError, InvalidRequest, NotFound, StartFailed
from wherry.engine.config import ContainerConfig, HostConfig, MountRequest, RestartPolicy
from wherry.engine.exec_config import ExecConfig
from wherry.oci import HOST, Platform, RuntimeConfig


async def test_a_missing_program_is_127(engine: Engine) -> None:
    container = await make(engine, "/nothing.wasm")
    attachment = engine.containers.attach(container, stdout=True)
    with pytest.raises(StartFailed, match="no such file") as caught:
        await engine.containers.start(container)
    assert caught.value.exit_code == 127
    assert "\n" not in caught.value.message
    assert [output async for output in attachment] == []
    state = container.state
    assert (state.status, state.exit_code) == ("created", 127)
    assert state.error == caught.value.message
    await engine.containers.remove(container)


async def test_a_file_that_is_no_program_is_126(engine: Engine) -> None:
    make_image(engine.store, "text", {"words.txt": b"just words"})
    container = await make(engine, "/words.txt", image="text")
    with pytest.raises(StartFailed, match="permission denied") as caught:
        await engine.containers.start(container)
    assert caught.value.exit_code == 126


async def test_a_failed_start_with_auto_remove_removes(engine: Engine) -> None:
    container = await make(engine, "/nothing.wasm", host=HostConfig(auto_remove=True))
    gone = engine.containers.wait(container, "removed")
    with pytest.raises(StartFailed):
        await engine.containers.start(container)
    assert (await gone).status_code == 127
    assert list(engine.containers) == []


async def test_a_container_can_be_started_after_it_failed(engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    mount = MountRequest(type="bind", source=str(source), target="/data")
    container = await make(engine, "/exit.wasm", "2", host=HostConfig(mounts=[mount]))
    source.rmdir()
    with pytest.raises(StartFailed, match="bind source path does not exist"):
        await engine.containers.start(container)
    source.mkdir()
    assert await run(engine, container) == (2, "")
    assert container.state.error == ""


async def test_what_nothing_here_runs_is_refused_before_it_starts(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image(engine.store, "far", platform=Platform(architecture="s390x", os="linux"))
    make_image(engine.store, "other", platform=Platform(architecture="amd64", os="windows"))
    make_image(engine.store, "untold", platform=Platform(architecture="", os=""))
    make_image(engine.store, "linux", platform=HOST)
    with pytest.raises(InvalidRequest, match=r"image far:latest is for linux/s390x: this machine"):
        await make(engine, image="far")
    with pytest.raises(InvalidRequest, match="nothing here that runs windows"):
        await make(engine, image="other")
    with pytest.raises(InvalidRequest, match="untold:latest does not say what platform it is for"):
        await make(engine, image="untold")
    monkeypatch.setattr(linux_runtime, "find", lambda: None)
    with pytest.raises(InvalidRequest, match=r"no runtime for Linux programs.*apt install crun"):
        await make(engine, image="linux")
    with pytest.raises(NotFound):
        await make(engine, image="unheard-of")
    assert list(engine.containers) == []


async def test_a_runtime_that_is_not_there_is_named(engine: Engine) -> None:
    host = HostConfig(runtime="io.containerd.nothing.v1")
    container = await make(engine, "/exit.wasm", host=host)
    with pytest.raises(EngineError, match=r"containerd-shim-nothing-v1 is not on the PATH"):
        await engine.containers.start(container)


async def test_an_image_without_a_command_needs_one(engine: Engine) -> None:
    make_image(engine.store, "bare", config=RuntimeConfig())
    with pytest.raises(InvalidRequest, match="no command specified"):
        await make(engine, image="bare")


async def test_an_image_whose_command_no_program_can_be_given_is_told(engine: Engine) -> None:
    make_image(engine.store, "zero", config=RuntimeConfig(entrypoint=["/a\0b"]))
    with pytest.raises(InvalidRequest, match="zero byte"):
        await make(engine, image="zero")


@pytest.mark.parametrize(
    ("config", "host", "reason"),
    [
        (ContainerConfig(working_dir="here"), HostConfig(), "needs to be an absolute path"),
        (ContainerConfig(env=["=x"]), HostConfig(), "invalid environment variable: =x"),
        (ContainerConfig(cmd=["a\0b"]), HostConfig(), "NUL"),
        (ContainerConfig(stop_signal="SIGBAD"), HostConfig(), "Invalid signal: SIGBAD"),
        (ContainerConfig(hostname="-"), HostConfig(), "invalid hostname"),
        (ContainerConfig(user="nobody-here"), HostConfig(), "no matching entries in passwd file"),
        (ContainerConfig(), HostConfig(memory=1), "Minimum memory limit allowed is 6MB"),
        (ContainerConfig(), HostConfig(nano_cpus=10**15), "Range of CPUs"),
        (
            ContainerConfig(labels={"io.wherry.egress": "db:no"}),
            HostConfig(),
            "label io.wherry.egress: ",
        ),
        (ContainerConfig(), HostConfig(pid_mode="host"), "--pid=host is not supported"),
        (
            ContainerConfig(),
            HostConfig(restart_policy=RestartPolicy(name="sometimes")),
            "unknown policy 'sometimes'",
        ),
        (
            ContainerConfig(),
            HostConfig(restart_policy=RestartPolicy(name="always"), auto_remove=True),
            "can't create 'AutoRemove' container with restart policy",
        ),
        (
            ContainerConfig(),
            HostConfig(mounts=[MountRequest(type="bind", source="/no/such/path", target="/x")]),
            "bind source path does not exist: /no/such/path",
        ),
    ],
)
async def test_requests_that_make_no_sense(
    engine: Engine, config: ContainerConfig, host: HostConfig, reason: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await make(engine, config=config, host=host, name="name")
    assert reason in caught.value.message
    assert list(engine.containers) == []
    assert list((engine.root / "containers").iterdir()) == []


async def test_a_linux_program_in_an_image_for_wasm_is_not_run(engine: Engine) -> None:
    content = Path(sys.executable).resolve().read_bytes()
    make_image(engine.store, "native", {"bin/native": content})
    container = await make(engine, "/bin/native", "--version", image="native")
    with pytest.raises(StartFailed, match="WebAssembly") as caught:
        await engine.containers.start(container)
    assert caught.value.exit_code == 126
    beside = await make(engine, "/loop.wasm", image="native")
    await engine.containers.start(beside)
    exec = engine.containers.execs.create(beside, ExecConfig(cmd=["/bin/native", "--version"]))
    with pytest.raises(StartFailed, match="WebAssembly") as caught:
        await engine.containers.execs.start(exec, attached=False)
    assert caught.value.exit_code == 126
