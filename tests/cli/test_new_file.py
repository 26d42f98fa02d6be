"""Files that commands write are whole or not there, and take the place of files alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.cli.new_file import write_file


def test_a_file_is_replaced_and_a_link_to_it_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    (tmp_path / "link").symlink_to("file")
    write_file(str(tmp_path / "link"), [b"af", b"ter"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "after"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_cut_leaves_what_was_there(tmp_path: Path) -> None:
    def cut() -> Iterator[bytes]:
        yield b"some"
        raise ConnectionError

    (tmp_path / "file").write_text("before")
    with pytest.raises(ConnectionError):
        write_file(str(tmp_path / "file"), cut())
    assert (tmp_path / "file").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_device_or_a_pipe_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as output, open(writer, "wb"):
        (tmp_path / "stdout").symlink_to(f"/proc/self/fd/{writer}")
        write_file(str(tmp_path / "stdout"), [b"archive"])
        assert output.read(7) == b"archive"
    assert (tmp_path / "stdout").is_symlink()


def test_a_folder_that_is_not_there_is_told_by_the_name_that_was_given(tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere" / "file")
    with pytest.raises(FileNotFoundError) as caught:
        write_file(path, [b""])
    assert caught.value.filename == path
