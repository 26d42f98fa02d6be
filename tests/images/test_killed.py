"""kill -9 at any moment leaves a store that is whole, and that the next process goes on with."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.images.samples import image_of, layer_of, member, saved, simple_image, tar_of

from wherry.images import ImageStore

CHANGES = (
    "open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink",
    "os.chmod", "os.chown", "os.utime", "os.setxattr", "fcntl.flock",
)  # fmt: skip
POINTS = 60


def killed_at(point: int, work: Callable[[], object]) -> bool:
    """Do `work` in a child that is killed as it begins its change number `point` of files.

    Returns whether it got so far.
    """
    child = os.fork()
    if not child:
        left = point

        def count(event: str, _: object) -> None:
            nonlocal left
            if event in CHANGES:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.WIFSIGNALED(status)


def points(work: Callable[[], object]) -> list[int]:
    """Points all over `work`, which is done once to count them."""
    reader, writer = os.pipe()
    if not os.fork():
        total = 0

        def count(event: str, _: object) -> None:
            nonlocal total
            total += event in CHANGES

        sys.addaudithook(count)
        work()
        os.write(writer, str(total).encode())
        os._exit(0)
    os.close(writer)
    total = int(os.read(reader, 100))
    os.close(reader)
    os.wait()
    return [*range(0, total, max(1, total // POINTS))]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An image with two layers of some files, links and deletions."""
    store = ImageStore(tmp_path / "made")
    layers = [
        layer_of(
            store,
            tar_of(
                *(member(f"{part}/{n}", os.urandom(30)) for n in range(5)),
                member(f"{part}/.wh.gone"),
                member(f"{part}/.wh..wh..opq"),
            ),
        )
        for part in "ab"
    ]
    image_of(store, *layers, name="victim")
    path = tmp_path / "archive.tar"
    path.write_bytes(saved(store, "victim"))
    return path


class Work:
    """The actions that are interrupted, each by a process with a store of its own."""

    def __init__(self, root: Path, archive: Path) -> None:
        self.root = root
        self.archive = archive

    def load(self) -> None:
        with open(self.archive, "rb") as file:
            ImageStore(self.root).load(file)

    def unpack(self) -> None:
        store = ImageStore(self.root)
        store.lowerdirs(store.resolve("victim"))

    def remove(self) -> None:
        ImageStore(self.root).remove("victim")

    def prune(self) -> None:
        store = ImageStore(self.root)
        store.prune(all=True, in_use=[store.resolve("kept").id])

    def build(self) -> None:
        simple_image(ImageStore(self.root), "kept", "new")

    def undo(self) -> None:
        """Undo the rest, so that the next round begins as the first."""
        store = ImageStore(self.root)
        store.prune(all=True, in_use=[store.resolve("kept").id])


BEFORE: dict[str, tuple[str, ...]] = {
    "load": (),
    "unpack": ("load",),
    "remove": ("load", "unpack"),
    "prune": ("load", "unpack"),
    "build": (),
}


@pytest.mark.parametrize("action", [*BEFORE])
def test_a_killed_process_leaves_a_whole_store(tmp_path: Path, archive: Path, action: str) -> None:
    root = tmp_path / "data"
    ids = {simple_image(ImageStore(root), "kept").id}
    work = Work(root, archive)
    for step in BEFORE[action]:
        getattr(work, step)()
    spots = points(getattr(work, action))
    for spot in spots:
        work.undo()
        simple_image(ImageStore(root), "kept")
        for step in BEFORE[action]:
            getattr(work, step)()
        killed_at(spot, getattr(work, action))
        store = ImageStore(root)
        assert store.check() == []
        kept = store.resolve("kept")
        assert kept.id in ids or action == "build"
        for image in store.list():
            for path in store.lowerdirs(image):
                assert len([*path.rglob("*")]) in (1, 7)
        store.collect()
        assert store.check() == []
        assert os.listdir(root / "layers/ingest") == os.listdir(root / "images/ingest") == []


def test_a_process_killed_in_a_hold_holds_nothing(store: ImageStore, tmp_path: Path) -> None:
    def work() -> None:
        other = ImageStore(tmp_path / "data")
        with other.hold():
            other.blobs.write("text/plain", b"orphan")
            os.kill(os.getpid(), signal.SIGKILL)

    assert killed_at(1 << 30, work)
    assert store.collect() == len(b"orphan")
