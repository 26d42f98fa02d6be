"""Images seen from the engine: views, names, archives, events, and what containers hold on to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
from tests.engine.kitchen import make, make_image, run

from wherry.engine import Conflict, Engine, Filters, InvalidRequest, NotFound
from wherry.oci import RuntimeConfig

pytestmark = pytest.mark.root


async def _archive(engine: Engine, *names: str) -> bytes:
    return b"".join([chunk async for chunk in engine.images.save(names)])


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


def deeds(engine: Engine) -> list[tuple[str, str]]:
    """Everything that was told of images: what and by which name."""
    with closing(engine.events.subscribe(Filters({"type": ["image"]}), since=0)) as told:
        found = []
        while not told._queue.empty():
            event = told._queue.get_nowait()
            assert event
            found.append((event.action, event.actor.attributes.get("name", "")))
        return found


async def test_an_image_is_shown_as_docker_shows_it(engine: Engine) -> None:
    image = make_image(
        engine.store, "localhost:5000/a/b:1", config=RuntimeConfig(env=["A=1"], cmd=["/x.wasm"])
    )
    (shown,) = engine.images.list(Filters({"reference": ["localhost:5000/a/b"]}))
    assert shown.id == image.id
    assert shown.repo_tags == ["localhost:5000/a/b:1"]
    assert shown.repo_digests == [f"localhost:5000/a/b@{image.descriptor.digest}"]
    assert shown.size == image.size
    inspected = engine.images.inspect("localhost:5000/a/b:1")
    assert (inspected.os, inspected.architecture) == ("wasi", "wasm")
    assert (inspected.config.env, inspected.config.cmd) == (["A=1"], ["/x.wasm"])
    assert inspected.root_fs.layers == list(image.config.rootfs.diff_ids)
    (step,) = engine.images.history("localhost:5000/a/b:1")
    assert (step.id, step.tags) == (image.id, ["localhost:5000/a/b:1"])
    assert step.size == image.manifest.layers[0].size


async def test_a_tag_moves_and_leaves_a_dangling_image(engine: Engine) -> None:
    first = make_image(engine.store, "one", {"only-here": b"1"})
    second = make_image(engine.store, "two", config=RuntimeConfig(cmd=["/exit.wasm"]))
    await engine.images.tag("two", "one", "")
    assert engine.images.inspect("one").id == second.id
    dangling = engine.images.list(Filters({"dangling": ["true"]}))
    assert [image.id for image in dangling] == [first.id]
    assert ("tag", "one:latest") in deeds(engine)
    with pytest.raises(NotFound):
        await engine.images.tag("nothing", "one", "")
    with pytest.raises(InvalidRequest, match="UPPER"):
        await engine.images.tag("two", "UPPER", "")


async def test_the_last_name_takes_the_image_with_it(engine: Engine) -> None:
    image = make_image(engine.store, "one", {"only-here": b"1"})
    await engine.images.tag("one", "two", "x")
    untagged = await engine.images.remove("one")
    assert [(each.untagged, each.deleted) for each in untagged] == [("one:latest", "")]
    removed = await engine.images.remove("two:x")
    assert [each.deleted for each in removed] == ["", image.id]
    with pytest.raises(NotFound):
        engine.images.inspect(image.id)
    assert ("untag", "two:x") in deeds(engine)
    assert ("delete", image.id) in deeds(engine)


async def test_an_image_that_a_container_uses_stays(engine: Engine) -> None:
    container = await make(engine, "/echo.wasm")
    with pytest.raises(Conflict, match="used by a container"):
        await engine.images.remove("guests")
    assert engine.images.inspect("guests")
    await engine.images.remove("guests", force=True)
    assert (await run(engine, container))[0] == 0


async def test_a_running_container_keeps_its_image_from_force(engine: Engine) -> None:
    container = await make(engine, "/loop.wasm")
    await engine.containers.start(container)
    with pytest.raises(Conflict, match="cannot be forced"):
        await engine.images.remove("guests", force=True)


async def test_what_was_saved_can_be_loaded(engine: Engine) -> None:
    image = make_image(engine.store, "one", {"only-here": b"1"})
    archive = await _archive(engine, "one")
    await engine.images.remove("one")
    assert await engine.images.load(_pieces(archive)) == ["one:latest"]
    assert engine.images.inspect("one").id == image.id
    assert ("save", "one") in deeds(engine)
    assert ("load", "one:latest") in deeds(engine)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\0" * 10240])
async def test_what_is_no_archive_is_refused(engine: Engine, data: bytes) -> None:
    before = {image.id for image in engine.images.list()}
    with pytest.raises(InvalidRequest):
        await engine.images.load(_pieces(data))
    assert {image.id for image in engine.images.list()} == before


async def test_an_archive_that_breaks_off_changes_nothing(engine: Engine) -> None:
    make_image(engine.store, "one", {"only-here": b"1"})
    archive = await _archive(engine, "one")
    await engine.images.remove("one")

    async def broken() -> AsyncIterator[bytes]:
        yield archive[: len(archive) // 2]
        raise ConnectionResetError("the client has gone")

    with pytest.raises(Exception, match=r".+"):
        await engine.images.load(broken())
    with pytest.raises(NotFound):
        engine.images.inspect("one")


async def test_saving_what_is_not_there_is_refused_at_once(engine: Engine) -> None:
    with pytest.raises(NotFound):
        engine.images.save(["guests", "nothing"])
    with pytest.raises(InvalidRequest):
        engine.images.save([])


async def test_prune_spares_what_has_a_name_or_a_container(engine: Engine) -> None:
    old = make_image(engine.store, "one", {"old": b"1"})
    new = make_image(engine.store, "one", {"new": b"1"})
    used = make_image(engine.store, "used", {"used": b"1"})
    await make(engine, "/echo.wasm", image="used")
    report = await engine.images.prune()
    assert [each.deleted for each in report.images_deleted or []] == [old.id]
    assert report.space_reclaimed > 0
    await engine.images.prune(Filters({"dangling": ["false"]}))
    assert [image.id for image in engine.images.list()] == [used.id]
    assert new.id != used.id


async def test_filters_that_do_not_exist_are_refused(engine: Engine) -> None:
    for filters in ({"nonsense": ["x"]}, {"until": ["yesterday"]}, {"dangling": ["perhaps"]}):
        with pytest.raises(InvalidRequest):
            engine.images.list(Filters(filters))
    with pytest.raises(InvalidRequest):
        await engine.images.prune(Filters({"reference": ["x"]}))


async def test_lists_are_filtered_by_label_name_and_time(engine: Engine) -> None:
    make_image(engine.store, "labelled", config=RuntimeConfig(labels={"a": "1"}))

    def names(**filters: str) -> list[str]:
        found = engine.images.list(Filters({key: [value] for key, value in filters.items()}))
        return sorted(name for image in found for name in image.repo_tags)

    assert names(label="a=1") == ["labelled:latest"]
    assert names(label="a=2") == []
    assert names(reference="l*") == ["labelled:latest"]
    assert names(reference="l*:*") == ["labelled:latest"]
    assert names(reference="*/*") == []
    assert names(reference="docker.io/library/guests") == ["guests:latest"]
    assert names(until="10m") == ["guests:latest", "labelled:latest"]


async def test_a_list_by_name_shows_only_the_names_asked_for(engine: Engine) -> None:
    image = make_image(engine.store, "one", {"only-here": b"1"})
    await engine.images.tag("one", "two", "x")
    (shown,) = engine.images.list(Filters({"reference": ["two"]}))
    assert (shown.id, shown.repo_tags) == (image.id, ["two:x"])


async def test_many_loads_and_removals_at_once_end_well(engine: Engine) -> None:
    make_image(engine.store, "one", {"only-here": b"1"})
    archive = await _archive(engine, "one")

    async def load_and_remove() -> None:
        await engine.images.load(_pieces(archive))
        await asyncio.gather(engine.images.remove("one"), return_exceptions=True)

    async with asyncio.timeout(60):
        await asyncio.gather(*(load_and_remove() for _ in range(8)))
    assert engine.images.inspect("guests")
