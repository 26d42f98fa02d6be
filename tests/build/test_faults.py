"""Builds that are killed, that run out of disk, that run side by side, and random Dockerfiles."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.build.kitchen import Files, Kitchen, link, make_tar
from tests.conftest import without

from wherry.build import BuildError, BuildOptions, Event, build
from wherry.oci import parse_reference

DOCKERFILE = "FROM scratch AS one\nCOPY a d /x/\nFROM scratch\nCOPY --from=one /x /y\nENV A=1\n"
FILES: Files = {"a": "A", "d/e": "E", "d/l": link("../a")}
TAGS = (parse_reference("hello"),)
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
EVENTS = 12
EVENTS_BEFORE_THE_NAME = 9


@pytest.mark.parametrize("after", range(EVENTS + 1))
def test_a_killed_build_leaves_a_whole_store(kitchen: Kitchen, after: int) -> None:
    before = kitchen.build("FROM scratch", tags=TAGS)
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            build_and_die(kitchen, after)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    again = Kitchen(kitchen.root)
    assert again.store.check() == []
    if after < EVENTS_BEFORE_THE_NAME:
        assert again.store.resolve("hello").id == before.id
    assert again.files(again.build(DOCKERFILE, FILES, tags=TAGS)) == {"y/a": "A", "y/e": "E"}


def build_and_die(kitchen: Kitchen, after: int) -> None:
    left = after

    def progress(event: Event) -> None:
        nonlocal left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    options = BuildOptions(tags=TAGS)
    with kitchen.context(make_tar({"Dockerfile": DOCKERFILE, **FILES})) as context:
        build(context, options, kitchen.store, kitchen.runner, progress, kitchen.root / "build")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        without("this root cannot mount")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.root
@pytest.mark.parametrize("megabytes", [3, 20])
def test_a_full_disk_is_told_and_changes_nothing(small_disk: Path, megabytes: int) -> None:
    kitchen = Kitchen(small_disk)
    before = kitchen.build("FROM scratch", tags=TAGS)
    (small_disk / "ballast").write_bytes(bytes(6 << 20))
    big = os.urandom(megabytes << 20)
    with pytest.raises(BuildError, match=r"(?i)no space left") as caught:
        kitchen.build("FROM scratch\nCOPY big /", {"big": big}, tags=TAGS)
    assert "\n" not in str(caught.value)
    (small_disk / "ballast").unlink()
    assert kitchen.store.check() == []
    assert kitchen.store.resolve("hello").id == before.id


def test_builds_side_by_side(kitchen: Kitchen) -> None:
    ids: list[str] = []

    def one(number: int) -> None:
        mine = Kitchen(kitchen.root)
        image = mine.build(DOCKERFILE, {**FILES, "a": f"A{number % 2}"}, tags=TAGS)
        assert mine.files(image)["y/a"] == f"A{number % 2}"
        ids.append(image.id)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert kitchen.store.resolve("hello").id in ids
    assert kitchen.store.check() == []


LINES = [
    "COPY a /",
    "COPY d /x",
    "COPY . /all/",
    "COPY a d/e /x",
    "COPY --from=one / /",
    "COPY --from=one /x/e /x/",
    "COPY --link d /l",
    "COPY d/l /x/l",
    "COPY x /nowhere",
    "COPY <<EOF /x/e\nhi $V\nEOF",
    "ADD a /x/l",
    "WORKDIR x",
    "WORKDIR /l",
    "ENV V=${V:-x}/$V",
    "ARG V=/x",
    "COPY a $V",
    "USER ${V}",
    "EXPOSE $V",
    'RUN ["/a"]',
    "FROM scratch",
    "FROM one",
]


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=8))
def test_random_dockerfiles_build_twice_alike_or_are_refused(lines: list[str]) -> None:
    text = "\n".join(["FROM scratch AS one", "COPY d /x", *lines])
    with tempfile.TemporaryDirectory() as folder:
        kitchen = Kitchen(Path(folder))
        outcomes: list[str] = []
        for use_cache in (True, True, False):
            try:
                image = kitchen.build(text, FILES, use_cache=use_cache, arguments=EPOCH)
                outcomes.append(image.digest)
            except BuildError as error:
                assert error.line > 0
                outcomes.append(str(error))
        assert len(set(outcomes)) == 1
