"""The layer cache, and equal bytes from equal input."""

import os
from pathlib import Path

import pytest
from tests.build.kitchen import Kitchen, make_tar

from wherry.build import BuildCache, BuildError, Event, StepFinished
from wherry.oci import parse_reference

DOCKERFILE = "FROM scratch\nWORKDIR /app\nCOPY a b/\nLABEL x=y\nCOPY d .\n"
FILES = {"a": "A", "d/e": "E"}


def cached(events: list[Event]) -> list[bool]:
    return [event.cached for event in events if isinstance(event, StepFinished)]


def test_the_second_build_is_the_same_image(kitchen: Kitchen) -> None:
    first = kitchen.build(DOCKERFILE, FILES)
    assert cached(kitchen.events) == [False] * 5
    second = kitchen.build(DOCKERFILE, FILES)
    assert cached(kitchen.events) == [False, True, True, False, True]
    assert second.id == first.id
    assert len(kitchen.store.list()) == 1


def test_times_of_files_do_not_matter(kitchen: Kitchen) -> None:
    first = kitchen.build("", archive=make_tar({"Dockerfile": DOCKERFILE, **FILES}, mtime=5))
    second = kitchen.build("", archive=make_tar({"Dockerfile": DOCKERFILE, **FILES}, mtime=6))
    assert second.id == first.id


def test_only_what_changed_is_done_again(kitchen: Kitchen) -> None:
    kitchen.build(DOCKERFILE, FILES)
    changed = kitchen.build(DOCKERFILE, {**FILES, "a": "other"})
    assert cached(kitchen.events) == [False, True, False, False, True]
    assert kitchen.files(changed) == {"app/b/a": "other", "app/e": "E"}


def test_metadata_does_not_disturb_layers(kitchen: Kitchen) -> None:
    first = kitchen.build(DOCKERFILE, FILES)
    second = kitchen.build(DOCKERFILE.replace("x=y", "x=z"), FILES)
    assert second.id != first.id
    assert second.manifest.layers == first.manifest.layers


def test_owner_and_mode_count(kitchen: Kitchen) -> None:
    plain = kitchen.build("FROM scratch\nCOPY a /", FILES)
    owned = kitchen.build("FROM scratch\nCOPY --chown=1 a /", FILES)
    mode = kitchen.build("FROM scratch\nCOPY --chmod=700 a /", FILES)
    assert len({image.manifest.layers[0].digest for image in (plain, owned, mode)}) == 3


def test_no_cache(kitchen: Kitchen) -> None:
    kitchen.build(DOCKERFILE, FILES)
    kitchen.build(DOCKERFILE, FILES, use_cache=False)
    assert not any(cached(kitchen.events))


def test_a_layer_that_is_gone_is_made_again(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nCOPY a /", FILES, tags=(parse_reference("x"),))
    kitchen.store.remove("x", force=True)
    again = kitchen.build("FROM scratch\nCOPY a /", FILES)
    assert kitchen.files(again) == {"a": "A"}
    assert image.manifest.layers[0].size


def test_damaged_records_are_ignored(kitchen: Kitchen) -> None:
    kitchen.build(DOCKERFILE, FILES)
    for path in (kitchen.root / "build" / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-9])
    kitchen.build(DOCKERFILE, FILES)
    assert not any(cached(kitchen.events))


def test_clearing_the_cache(kitchen: Kitchen) -> None:
    kitchen.build(DOCKERFILE, FILES)
    cache = BuildCache(kitchen.root / "build" / "cache", kitchen.store.blobs)
    assert cache.clear() > 0
    assert cache.clear() == 0
    kitchen.build(DOCKERFILE, FILES)
    assert not any(cached(kitchen.events))


def test_source_date_epoch_gives_equal_bytes(tmp_path: Path) -> None:
    digests = set()
    for number in range(2):
        kitchen = Kitchen(tmp_path / str(number))
        archive = make_tar({"Dockerfile": DOCKERFILE, **FILES}, mtime=1000 + number)
        image = kitchen.build("", archive=archive, arguments={"SOURCE_DATE_EPOCH": "1700000000"})
        digests.add(image.digest)
        times = {entry.mtime for entry, _ in kitchen.layer(image).values()}
        assert times == {1_700_000_000 * 10**9}
        assert image.config.created == "2023-11-14T22:13:20Z"
        assert {entry.created for entry in image.config.history or ()} == {image.config.created}
    assert len(digests) == 1


def test_source_date_epoch_from_the_environment(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "SOURCE_DATE_EPOCH", "0")
    assert kitchen.build("FROM scratch").config.created == "1970-01-01T00:00:00Z"


def test_source_date_epoch_is_not_mixed_with_the_present(kitchen: Kitchen) -> None:
    kitchen.build(DOCKERFILE, FILES)
    kitchen.build(DOCKERFILE, FILES, arguments={"SOURCE_DATE_EPOCH": "5"})
    assert not any(cached(kitchen.events))


@pytest.mark.parametrize("text", ["yesterday", "-1", "1e9", "9" * 20])
def test_an_odd_source_date_epoch_is_refused(kitchen: Kitchen, text: str) -> None:
    with pytest.raises(BuildError, match="SOURCE_DATE_EPOCH"):
        kitchen.build("FROM scratch", arguments={"SOURCE_DATE_EPOCH": text})
