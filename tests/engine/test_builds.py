"""Builds through the engine: contexts as streams, steps in containers, and clients that leave."""

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import pytest
from tests.engine.kitchen import GUESTS, make, run

from wherry.build import BuildError, Step
from wherry.engine import Engine, InvalidRequest
from wherry.engine.builds.building import Built, StepFinished, StepOutput, StepStarted, Tagged
from wherry.engine.builds.request import BuildRequest
from wherry.engine.builds.steps import StepRunner
from wherry.oci import WASM

pytestmark = pytest.mark.root


async def _context(files: Mapping[str, str]) -> AsyncIterator[bytes]:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    data = tar.getvalue()
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


def _guest(name: str) -> str:
    return (GUESTS / f"{name}.wat").read_text()


async def _build(engine: Engine, dockerfile: str, *guests: str, **options: object) -> list[object]:
    files = {"Dockerfile": dockerfile, **{f"{name}.wat": _guest(name) for name in guests}}
    request = BuildRequest(**options)  # type: ignore[arg-type]
    return [event async for event in engine.builds.build(request, _context(files))]


async def test_a_built_image_has_its_names_and_runs(engine: Engine) -> None:
    events = await _build(
        engine,
        'FROM scratch\nCOPY environ.wat /tool.wat\nENTRYPOINT ["/tool.wat"]\n',
        "environ",
        tags=["built", "other:x"],
    )
    started = [event.text for event in events if isinstance(event, StepStarted)]
    assert started == [
        "FROM scratch",
        "COPY environ.wat /tool.wat",
        'ENTRYPOINT ["/tool.wat"]',
    ]
    assert [event.name for event in events if isinstance(event, Tagged)] == [
        "built:latest",
        "other:x",
    ]
    (built,) = (event for event in events if isinstance(event, Built))
    assert engine.images.inspect("other:x").id == built.id
    code, output = await run(engine, await make(engine, "hello", image="built"))
    assert (code, "hello" in output) == (0, True)


async def test_run_executes_a_program_in_the_stage(engine: Engine) -> None:
    dockerfile = (
        'FROM scratch\nENV A=1\nCOPY environ.wat /\nUSER 5:6\nRUN ["/environ.wat", "told"]\n'
    )
    events = await _build(engine, dockerfile, "environ", tags=["b"])
    said = b"".join(event.data for event in events if isinstance(event, StepOutput))
    assert {b"told", b"A=1"} <= set(said.split(b"\n"))
    again = await _build(engine, dockerfile, "environ", tags=["b"])
    assert [event for event in again if isinstance(event, StepFinished)][-1].cached
    assert not list((engine.root / "build" / "steps").iterdir())


async def test_a_program_that_fails_ends_the_build_and_names_the_line(engine: Engine) -> None:
    with pytest.raises(InvalidRequest, match=r"Dockerfile:3: .*7"):
        await _build(
            engine, 'FROM scratch\nCOPY exit.wat /\nRUN ["/exit.wat", "7"]\n', "exit", tags=["b"]
        )
    assert [image.repo_tags for image in engine.images.list()] == [["guests:latest"]]


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        ("FROM scratch\nCOPPY a b\n", r"Dockerfile:2: .*COPPY"),
        ("FROM 127.0.0.1:1/nothing\n", r"Dockerfile:1: .*nothing"),
        ("", r".+"),
        ("FROM scratch\nRUN make\n", r"Dockerfile:2: .*Linux"),
        ("FROM scratch\nCOPY missing /\n", r"Dockerfile:2: .*missing"),
    ],
)
async def test_a_mistake_is_told_with_its_line(
    engine: Engine, dockerfile: str, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        await _build(engine, dockerfile)
    assert "\n" not in caught.value.message


async def test_requests_that_make_no_sense_are_refused(engine: Engine) -> None:
    for options in ({"tags": ["UPPER"]}, {"platform": "nonsense"}, {"target": "nothing"}):
        with pytest.raises(InvalidRequest):
            await _build(engine, "FROM scratch\nENV A=1\n", **options)


async def test_a_context_that_is_no_tar_is_refused(engine: Engine) -> None:
    async def nonsense() -> AsyncIterator[bytes]:
        yield b"nonsense"

    with pytest.raises(InvalidRequest, match="tar"):
        async for _ in engine.builds.build(BuildRequest(), nonsense()):
            pass


async def test_a_build_that_nobody_waits_for_ends_and_its_step_with_it(engine: Engine) -> None:
    name = f"{uuid4().hex}.wat"
    files = {
        "Dockerfile": f'FROM scratch\nCOPY {name} /\nRUN ["/{name}"]\n',
        name: _guest("loop"),
    }
    steps = engine.root / "build" / "steps"
    async with aclosing(engine.builds.build(BuildRequest(), _context(files))) as events:
        async for event in events:
            if isinstance(event, StepStarted) and event.number == 3:
                break
    async with asyncio.timeout(60):
        while steps.is_dir() and any(steps.iterdir()):
            await asyncio.sleep(0.01)
    assert not any(Path("/proc").glob(f"[0-9]*/root/{name}"))


async def test_a_step_that_is_given_up_twice_is_cleared_up_once_and_wholly(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, clearing, cleared = (asyncio.Event() for _ in range(3))
    done: list[str] = []

    async def run(*_: object) -> int:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            clearing.set()
            await cleared.wait()
            done.append("cleared")
        raise AssertionError("it was to be cancelled")

    monkeypatch.setattr(StepRunner, "_run", run)
    runner = StepRunner(engine)
    place = Path("/nowhere")
    step = Step(
        argv=[], env=[], cwd="/", user="", platform=WASM, network="none", mounts=[], files=[],
        lowerdirs=[], upperdir=place, workdir=place, output=lambda data: None,
    )  # fmt: skip
    building = asyncio.create_task(asyncio.to_thread(runner.run, step))
    await running.wait()
    runner.abandon()
    await clearing.wait()
    runner.abandon()
    await asyncio.sleep(0)
    assert not building.done()
    cleared.set()
    with pytest.raises(BuildError, match="given up"):
        await building
    assert done == ["cleared"]


async def test_pruning_the_cache_makes_the_next_build_work_again(engine: Engine) -> None:
    dockerfile = "FROM scratch\nCOPY echo.wat /\n"
    await _build(engine, dockerfile, "echo", tags=["b"])
    assert sum(each.size for each in await engine.builds.cache_records({})) > 0
    report = await engine.builds.prune()
    assert report.space_reclaimed > 0
    assert await engine.builds.cache_records({}) == []
    again = await _build(engine, dockerfile, "echo", tags=["b"])
    assert not any(event.cached for event in again if isinstance(event, StepFinished))
