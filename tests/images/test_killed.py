"""kill -9 at any moment leaves a store that is whole, and that the next process goes on with."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.images.samples import image_of, layer_of, member, saved, simple_image, tar_of

from wherry.images import ImageStore

ROUNDS = 25


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An image with two layers of many files."""
    store = ImageStore(tmp_path / "made")
    layers = [
        layer_of(store, tar_of(*(member(f"{part}/{n}", os.urandom(300)) for n in range(150))))
        for part in "ab"
    ]
    image_of(store, *layers, name="victim")
    path = tmp_path / "archive.tar"
    path.write_bytes(saved(store, "victim"))
    return path


def kill_after(seconds: float, root: Path, action: str, archive: Path) -> None:
    """Start a victim, and kill it some time after it began to work."""
    script = Path(__file__).parent / "victim.py"
    process = subprocess.Popen(
        [sys.executable, script, root, action, archive], stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    time.sleep(seconds)
    assert process.poll() is None, "it ended by itself"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("action", ["load", "unpack", "remove", "all"])
def test_a_killed_process_leaves_a_whole_store(
    store: ImageStore, tmp_path: Path, archive: Path, action: str
) -> None:
    kept = simple_image(store, "kept")
    chance = random.Random(action)
    for _ in range(ROUNDS):
        with open(archive, "rb") as file:
            store.load(file)
        kill_after(chance.uniform(0, 0.06), tmp_path / "data", action, archive)
        fresh = ImageStore(tmp_path / "data")
        assert fresh.check() == []
        assert fresh.resolve("kept").id == kept.id
        for image in fresh.list():
            assert [
                len(files) for path in fresh.lowerdirs(image) for files in [list(path.rglob("*"))]
            ]
        fresh.collect()
        assert fresh.check() == []
        assert os.listdir(tmp_path / "data/layers/ingest") == []
        assert os.listdir(tmp_path / "data/images/ingest") == []
    fresh.prune(all=True)
    assert fresh.usage().total == 0
