"""kill -9 at any moment leaves a store that is whole, and that the next process goes on with."""

import hashlib
import itertools
import os
import signal
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from tests.images.samples import image_of, layer_of, member, saved, simple_image, tar_of

from wherry import shelf
from wherry.images import ImageStore
from wherry.oci import Manifest, MediaType, encode

CALLS = frozenset(
    {
        "open", "write", "sendfile", "fsync", "close", "flock", "rename", "replace", "unlink",
        "rmdir", "mkdir", "pread", "link", "symlink", "mknod", "chmod", "fchmod", "fchown", "utime",
        "setxattr",
    }
)  # fmt: skip
"""The interpreter's functions before whose calls a process is killed."""
POINTS = 50
MODULE = b"\0asm\1\0\0\0of the victim"


def watch(called: Callable[[], None]) -> None:
    """Call `called` before each call of CALLS from now on."""

    def profile(_: FrameType, event: str, function: object) -> None:
        if event == "c_call" and getattr(function, "__name__", "") in CALLS:
            called()

    threading.setprofile(profile)
    sys.setprofile(profile)


def killed_at(point: int, work: Callable[[], object]) -> bool:
    """Do `work` in a child that is killed before its call number `point`.

    Returns whether it got so far.
    """
    child = os.fork()
    if not child:
        calls = itertools.count()

        def count() -> None:
            if next(calls) == point:
                os.kill(os.getpid(), signal.SIGKILL)

        watch(count)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.WIFSIGNALED(status)


def points(work: Callable[[], object], most: int = POINTS) -> list[int]:
    """About `most` points all over `work`, which is done once to count them."""
    reader, writer = os.pipe()
    if not os.fork():
        calls = itertools.count()

        def count() -> None:
            next(calls)

        watch(count)
        work()
        sys.setprofile(None)
        os.write(writer, str(next(calls)).encode())
        os._exit(0)
    os.close(writer)
    total = int(os.read(reader, 100))
    os.close(reader)
    os.wait()
    assert total > 10
    return [*range(0, total, max(1, total // most))]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An image with two layers of some files, links and deletions, and what hangs on it."""
    store = ImageStore(tmp_path / "made")
    layers = [
        layer_of(
            store,
            tar_of(
                *(member(f"{part}/{n}", os.urandom(30)) for n in range(4)),
                member(f"{part}/4", MODULE),
                member(f"{part}/.wh.gone"),
                member(f"{part}/.wh..wh..opq"),
                member(f"{part}/linked", type=tarfile.LNKTYPE, linkname="a/0"),
            ),
        )
        for part in "ab"
    ]
    image = image_of(store, *layers, name="victim")
    with store.hold():
        about = store.blobs.write("text/x-note", b"{}")
        manifest = Manifest(schema_version=2, config=about, layers=[about])
        store.attachments.add(image.digest, MediaType.MANIFEST, encode(manifest), {})
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

    def compile(self) -> None:
        """What the runtime would do."""
        code = self.root / "cache/key" / hashlib.sha256(MODULE).hexdigest()
        code.parent.mkdir(parents=True, exist_ok=True)
        for path in (code, code.with_suffix(".json")):
            path.write_bytes(b"code")

    def undo(self) -> None:
        """Undo the rest, so that the next round begins as the first."""
        store = ImageStore(self.root)
        store.prune(all=True, in_use=[store.resolve("kept").id])


BEFORE: dict[str, tuple[str, ...]] = {
    "load": (),
    "unpack": ("load",),
    "remove": ("load", "unpack", "compile"),
    "prune": ("load", "unpack", "compile"),
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
                assert len([*path.rglob("*")]) in (1, 8, 10)
            hanging = store.attachments.of(image.digest)
            assert len(hanging) == ("victim:latest" in image.names)
        store.collect()
        if not any(image.names == ["victim:latest"] for image in store.list()):
            assert shelf.sizes(root / "cache") == {}
        assert all(store.blobs.has(digest) for image in store.list() for digest in image.blobs)
        assert os.listdir(root / "layers/ingest") == os.listdir(root / "images/ingest") == []


def test_a_repair_that_is_killed_is_repaired_by_the_next(tmp_path: Path, archive: Path) -> None:
    work = Work(tmp_path / "data", archive)
    work.load()
    work.unpack()
    store = ImageStore(work.root)

    def damage() -> None:
        for path in store.lowerdirs(store.resolve("victim")):
            (path / path.name).touch()

    def repair() -> None:
        assert [*ImageStore(work.root).checking(repair=True)]

    damage()
    for spot in points(repair, 25):
        damage()
        killed_at(spot, repair)
        for path in store.lowerdirs(store.resolve("victim")):
            assert len([*path.rglob("*")]) in (8, 9, 10, 11)
        repair()
        store.sweep()
        assert store.check() == []
        assert os.listdir(work.root / "layers/ingest") == []


def test_a_process_killed_in_a_hold_holds_nothing(store: ImageStore, tmp_path: Path) -> None:
    def work() -> None:
        other = ImageStore(tmp_path / "data")
        with other.hold():
            other.blobs.write("text/plain", b"orphan")
            os.kill(os.getpid(), signal.SIGKILL)

    assert killed_at(1 << 30, work)
    taken = store.usage().blobs
    assert taken > 0
    assert store.collect() == taken
