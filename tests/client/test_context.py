"""The tar stream a build context becomes."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from wherry.client.context import ContextError, FolderContext, is_archive, memory_context


def unpacked(context: FolderContext) -> dict[str, bytes | None]:
    data = b"".join(context)
    assert len(data) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        out: dict[str, bytes | None] = {}
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            out[member.name] = file.read() if file else None
            assert (member.uid, member.gid, member.uname) == (0, 0, "")
        return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "sub").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "a").write_text("a" * 600)
    (root / "sub" / "b").write_text("b")
    (root / "empty").touch()
    (root / "link").symlink_to("a")
    (root / "dangling").symlink_to("/nowhere")
    return root


def test_files_folders_and_links_travel(folder: Path) -> None:
    files = unpacked(FolderContext(str(folder)))
    assert files == {
        ".": None,
        "./Dockerfile": b"FROM scratch\n",
        "./a": b"a" * 600,
        "./dangling": None,
        "./empty": b"",
        "./link": None,
        "./sub": None,
        "./sub/b": b"b",
    }


def test_the_order_is_that_of_the_names(folder: Path) -> None:
    first = b"".join(FolderContext(str(folder)))
    assert first == b"".join(FolderContext(f"{folder}/"))


def test_ignored_files_stay_at_home(folder: Path) -> None:
    (folder / ".dockerignore").write_text("*\n!sub/b\n")
    files = unpacked(FolderContext(str(folder)))
    assert set(files) == {".", "./.dockerignore", "./Dockerfile", "./sub", "./sub/b"}


def test_a_dockerfile_of_another_name_travels_even_when_ignored(folder: Path) -> None:
    (folder / "docker").mkdir()
    (folder / "docker" / "Debug").write_text("FROM scratch\n# debug\n")
    (folder / ".dockerignore").write_text("docker\na\n")
    context = FolderContext(str(folder), str(folder / "docker" / "Debug"))
    assert context.dockerfile == "docker/Debug"
    files = unpacked(context)
    assert files["./docker/Debug"] == b"FROM scratch\n# debug\n"
    assert "./a" not in files


@pytest.mark.parametrize("given", ["path", "bytes"])
def test_a_dockerfile_from_elsewhere_is_brought_along_and_hidden(
    folder: Path, tmp_path: Path, given: str
) -> None:
    (folder / ".dockerignore").write_text("a")
    (tmp_path / "Elsewhere").write_text("FROM scratch\n")
    outside = str(tmp_path / "Elsewhere") if given == "path" else b"FROM scratch\n"
    context = FolderContext(str(folder), outside)
    files = unpacked(context)
    assert files[context.dockerfile] == b"FROM scratch\n"
    rules = files[".dockerignore"]
    assert rules is not None
    assert rules.decode().split() == ["a", ".dockerignore", context.dockerfile]
    assert "./a" not in files
    assert "./.dockerignore" not in files


def test_sockets_and_fifos_are_left_out(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    assert "./fifo" not in unpacked(FolderContext(str(folder)))


def test_names_that_are_no_text_travel(folder: Path) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff"))).write_text("x")
    data = b"".join(FolderContext(str(folder)))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert "./\udcff" in archive.getnames()


def test_what_cannot_be_built_from_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="nowhere: no such folder"):
        FolderContext(str(tmp_path / "nowhere"))
    (tmp_path / "file").touch()
    with pytest.raises(ContextError, match="not a folder"):
        FolderContext(str(tmp_path / "file"))
    with pytest.raises(ContextError, match="Dockerfile: no such file"):
        FolderContext(str(tmp_path))


def test_a_context_from_memory_is_an_archive() -> None:
    data = memory_context({"Dockerfile": b"FROM scratch\n", "m": b"\0asm"})
    assert is_archive(data[:512])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["Dockerfile", "m"]
    assert not is_archive(b"FROM scratch\nCOPY ustar /\n")
