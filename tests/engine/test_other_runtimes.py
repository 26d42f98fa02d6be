"""Any containerd shim is a runtime: here runc's, with a Linux program."""

from pathlib import Path

import pytest
from tests.conftest import busybox
from tests.engine.kitchen import interactive, logged, make, make_image, run

from wherry.engine import Engine, StartFailed
from wherry.engine.config import ContainerConfig, HostConfig
from wherry.engine.exec_config import ExecConfig
from wherry.oci import HOST

pytestmark = pytest.mark.containerd

RUNC = "io.containerd.runc.v2"


def busybox_image(engine: Engine) -> None:
    """An image of one static Linux program."""
    make_image(engine.store, "linux", {"bin/busybox": busybox().read_bytes()}, platform=HOST)


async def test_a_linux_container_runs_under_runc(engine: Engine) -> None:
    busybox_image(engine)
    config = interactive("/bin/busybox", "sh", "-c", "cat; echo problem >&2; exit 6")
    config.image = "linux"
    made = await make(
        engine, image="linux", config=config, host=HostConfig(runtime=RUNC, network_mode="none")
    )
    code, output = await run(engine, made, stdin=b"through\n")
    assert (code, sorted(output.split())) == (6, ["problem", "through"])
    assert await logged(engine, made, stdout=False) == "problem\n"
    code, output = await run(engine, made, stdin=b"again\n")
    assert (code, sorted(output.split())) == (6, ["again", "problem"])


async def test_it_outlives_the_engine_too(places: tuple[Path, Path]) -> None:
    engine = await Engine.open(*places)
    busybox_image(engine)
    config = ContainerConfig(cmd=["/bin/busybox", "sleep", "1000"])
    made = await make(
        engine, image="linux", config=config, host=HostConfig(runtime=RUNC, network_mode="none")
    )
    await engine.containers.start(made)
    await engine.close()
    engine = await Engine.open(*places)
    again = engine.containers.get(made.id)
    assert again.state == made.state
    await engine.containers.stop(again, grace=0)
    assert again.state.exit_code == 137
    await engine.containers.remove(again)
    await engine.close()


async def test_exec_runs_in_it(engine: Engine) -> None:
    busybox_image(engine)
    config = ContainerConfig(cmd=["/bin/busybox", "sleep", "1000"])
    made = await make(
        engine, image="linux", config=config, host=HostConfig(runtime=RUNC, network_mode="none")
    )
    await engine.containers.start(made)
    execs = engine.containers.execs

    async def told(command: str, *, stdin: bytes = b"", tty: bool = False) -> tuple[int, bytes]:
        words = ["/bin/busybox", "sh", "-c", command]
        wanted = ExecConfig(
            cmd=words, attach_stdin=bool(stdin), attach_stdout=True, attach_stderr=True, tty=tty
        )
        session = await execs.start(execs.create(made, wanted), attached=True)
        await session.write(stdin)
        await session.close_stdin()
        output = b"".join([piece.data async for piece in session])
        return await session.wait(), output

    assert await told("cat; exit 5", stdin=b"x" * 200_000) == (5, b"x" * 200_000)
    assert await told("test -t 1 && echo yes", tty=True) == (0, b"yes\r\n")
    # What it leaves behind has its output open and does not hold up its end.
    code, output = await told("/bin/busybox sleep 1000 & echo done")
    assert (code, output) == (0, b"done\n")
    with pytest.raises(StartFailed) as refused:
        await execs.start(execs.create(made, ExecConfig(cmd=["/nothing"])), attached=False)
    assert refused.value.exit_code == 127
    await engine.containers.stop(made, grace=0)
    assert made.state.exit_code == 137
