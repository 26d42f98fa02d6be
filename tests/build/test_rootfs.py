"""A stage's root filesystem read from unpacked layers, hostile ones too."""

import os
from functools import partial
from pathlib import Path

import pytest

from wherry.build import BuildError
from wherry.build.files import find, resolve
from wherry.build.rootfs import KnownLayer, Rootfs, UnpackedLayer
from wherry.images.beneath import Root
from wherry.images.tar import Entry, Kind
from wherry.images.walk import walk


def folder(path: Path, files: dict[str, str]) -> Path:
    """A folder with `files`; a value that begins with "->" is a link."""
    path.mkdir()
    for name, text in files.items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            place.symlink_to(text[2:])
        else:
            place.write_text(text)
    return path


def stack(*layers: Path) -> Rootfs:
    """Lowest first."""
    return Rootfs([UnpackedLayer(str(path), partial(Path, path)) for path in reversed(layers)])


def text(tree: Rootfs, path: str) -> str:
    with tree.open(path) as file:
        return file.read().decode()


def test_upper_layers_win_and_directories_merge(tmp_path: Path) -> None:
    lower = folder(tmp_path / "1", {"a": "lower", "d/x": "x", "d/y": "y"})
    upper = folder(tmp_path / "2", {"a": "upper", "d/y": "new", "d/z": "z"})
    tree = stack(lower, upper)
    assert text(tree, "a") == "upper"
    assert tree.names("d") == ["x", "y", "z"]
    assert text(tree, "d/y") == "new"
    assert tree.entry("d/x/below") is None
    assert tree.entry("nothing") is None
    assert tree.names("nothing") == []


@pytest.mark.root
def test_deletions_and_opaque_directories(tmp_path: Path) -> None:
    lower = folder(tmp_path / "1", {"gone": "1", "old/x": "x", "dir/x": "x"})
    upper = folder(tmp_path / "2", {"old/y": "y"})
    os.mknod(upper / "gone", 0o20000, 0)
    os.mknod(upper / "dir", 0o20000, 0)
    os.setxattr(upper / "old", "trusted.overlay.opaque", b"y")
    tree = stack(lower, upper)
    assert tree.names("") == ["old"]
    assert tree.names("old") == ["y"]
    assert tree.entry("gone") is None
    assert tree.entry("dir/x") is None
    again = stack(lower, upper, folder(tmp_path / "3", {"dir/z": "z"}))
    assert again.names("dir") == ["z"]


def test_a_file_hides_a_directory_below_it(tmp_path: Path) -> None:
    lower = folder(tmp_path / "1", {"x/inside": "1"})
    middle = folder(tmp_path / "2", {"x": "file"})
    upper = folder(tmp_path / "3", {"x/new": "2"})
    assert stack(lower, middle).entry("x/inside") is None
    assert stack(lower, middle, upper).names("x") == ["new"]


def test_links_never_lead_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    outside = str(tmp_path)
    files = {"up": "->../../../../..", "abs": f"->{outside}", "direct": f"->{outside}/secret"}
    tree = stack(folder(tmp_path / "1", files))
    for path in ("up/secret", "abs/secret", "direct"):
        assert tree.entry(resolve(tree, path)) is None
        assert find(tree, f"{path}/*") == []
    assert tree.entry("abs/secret") is None


def test_a_link_below_a_directory_of_the_same_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "secret").write_text("secret")
    lower = folder(tmp_path / "1", {"d": f"->{tmp_path}/host"})
    upper = folder(tmp_path / "2", {"d/mine": "m"})
    tree = stack(lower, upper)
    assert tree.names("d") == ["mine"]
    assert tree.entry("d/secret") is None


def test_circles_are_found(tmp_path: Path) -> None:
    tree = stack(folder(tmp_path / "1", {"a": "->b", "b": "->a"}))
    with pytest.raises(BuildError, match="circle"):
        resolve(tree, "a/x")


def test_recorded_owners_are_believed(tmp_path: Path) -> None:
    path = folder(tmp_path / "1", {"f": "f"})
    os.setxattr(path / "f", "user.containers.override_stat", b"12:34:100750")
    entry = stack(path).entry("f")
    assert entry is not None
    assert (entry.uid, entry.gid, entry.mode, entry.xattrs) == (12, 34, 0o750, {})


@pytest.mark.parametrize("value", [b"", b"x", b"1:2", b"1:2:9", b"-1:2:7", b"1:2:" + b"7" * 2000])
def test_what_a_container_records_as_owner_is_an_owner_or_nothing(
    tmp_path: Path, value: bytes
) -> None:
    path = folder(tmp_path / "1", {"f": "f"})
    os.setxattr(path / "f", "user.containers.override_stat", value)
    status = (path / "f").stat()
    entry = stack(path).entry("f")
    assert entry is not None
    assert (entry.uid, entry.mode) == (status.st_uid, status.st_mode & 0o7777)
    with Root(path) as root:
        [_, walked] = walk(root)
    assert (walked.uid, walked.mode) == (entry.uid, entry.mode)


def test_known_layers_are_unpacked_only_for_content(tmp_path: Path) -> None:
    unpacked: list[Path] = []

    def unpack() -> Path:
        unpacked.append(folder(tmp_path / "1", {"d/f": "text"}))
        return unpacked[-1]

    entries = [Entry("d", Kind.DIRECTORY, 0o700), Entry("d/f", size=4)]
    tree = Rootfs([KnownLayer("known", entries, unpack)])
    assert tree.names("d") == ["f"]
    assert find(tree, "*/f") == ["d/f"]
    assert not unpacked
    assert text(tree, "d/f") == text(tree, "d/f") == "text"
    assert len(unpacked) == 1
