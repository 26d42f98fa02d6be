"""Room on a disk, as du(1) counts it."""

import os
import subprocess
from pathlib import Path

from wherry import disk


def du(path: Path) -> int:
    said = subprocess.run(["du", "-sB1", path], capture_output=True, text=True, check=True)
    return int(said.stdout.split()[0])


def test_it_is_what_du_says(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_bytes(os.urandom(100_000))
    (tmp_path / "again").hardlink_to(tmp_path / "folder/file")
    (tmp_path / "small").write_bytes(b"x")
    (tmp_path / "link").symlink_to("/usr")
    (tmp_path / "long link").symlink_to("x" * 300)
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(10 << 20)
        file.seek(5 << 20)
        file.write(b"x")
    assert disk.allocated(tmp_path) == du(tmp_path)
    assert disk.below(tmp_path) == du(tmp_path) - tmp_path.stat().st_blocks * 512


def test_a_file_counts_as_itself_and_nothing_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 5000)
    assert disk.allocated(tmp_path / "file") == du(tmp_path / "file") > 0
    assert disk.below(tmp_path / "file") == disk.allocated(tmp_path / "missing") == 0


def test_what_is_nested_deeper_than_a_path_can_say_is_counted(tmp_path: Path) -> None:
    here = os.open(".", os.O_PATH)
    try:
        os.chdir(tmp_path)
        for _ in range(60):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        Path("file").write_bytes(b"x" * 50_000)
    finally:
        os.fchdir(here)
        os.close(here)
    assert disk.allocated(tmp_path) == du(tmp_path) > 60 * 4096 + 50_000
