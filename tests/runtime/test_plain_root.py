"""Where the kernel gives no namespaces: copied roots, volumes as directories, WASI alone."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle

from wherry.oci.runtime import Mount
from wherry.runtime import LaunchError
from wherry.runtime.sandbox.merged import merge

Make = Callable[..., Bundle]


def _overlay(path: Path, *layers: Path) -> Mount:
    for name in ("upper", "work"):
        (path / name).mkdir(exist_ok=True)
    lower = ":".join(str(layer) for layer in layers)
    options = [f"lowerdir={lower}", f"upperdir={path}/upper", f"workdir={path}/work"]
    return Mount(destination="", type="overlay", source="overlay", options=options)


def _layer(path: Path, **files: str) -> Path:
    for name, content in files.items():
        target = path / name.replace("__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return path


def test_an_upper_layer_wins_over_a_lower_one(tmp_path: Path) -> None:
    bottom = _layer(tmp_path / "a", both="old", only="kept", dir__x="x")
    top = _layer(tmp_path / "b", both="new", dir__y="y")
    root = Path(merge(_overlay(tmp_path, top, bottom), "unused"))
    found = {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}
    assert found == {"both": "new", "only": "kept", "dir/x": "x", "dir/y": "y"}


@pytest.mark.root
def test_a_whiteout_hides_what_lies_below(tmp_path: Path) -> None:
    bottom = _layer(tmp_path / "a", gone="old", dir__gone="old", kept="x")
    top = _layer(tmp_path / "b", other="new")
    os.mknod(top / "gone", 0o600 | 0o020000, os.makedev(0, 0))
    os.mknod(top / "dir", 0o600 | 0o020000, os.makedev(0, 0))
    root = Path(merge(_overlay(tmp_path, top, bottom), "unused"))
    assert {p.name for p in root.iterdir()} == {"kept", "other"}


@pytest.mark.root
def test_an_opaque_directory_hides_what_lies_below(tmp_path: Path) -> None:
    bottom = _layer(tmp_path / "a", dir__old="old")
    top = _layer(tmp_path / "b", dir__new="new")
    os.setxattr(top / "dir", "trusted.overlay.opaque", b"y")
    root = Path(merge(_overlay(tmp_path, top, bottom), "unused"))
    assert [p.name for p in (root / "dir").iterdir()] == ["new"]


def test_what_a_container_wrote_is_not_copied_over(tmp_path: Path) -> None:
    overlay = _overlay(tmp_path, _layer(tmp_path / "a", file="image"))
    root = Path(merge(overlay, "unused"))
    (root / "file").write_text("container")
    assert Path(merge(overlay, "unused"), "file").read_text() == "container"


def test_a_symlink_of_an_image_is_never_followed(tmp_path: Path) -> None:
    outside = _layer(tmp_path / "outside", file="precious")
    bottom = tmp_path / "a"
    bottom.mkdir()
    (bottom / "dir").symlink_to(outside)
    top = _layer(tmp_path / "b", dir__file="hostile")
    root = Path(merge(_overlay(tmp_path, top, bottom), "unused"))
    assert (outside / "file").read_text() == "precious"
    assert (root / "dir").is_dir() and not (root / "dir").is_symlink()


@pytest.mark.root
def test_device_nodes_of_an_image_stay_behind(tmp_path: Path) -> None:
    layer = _layer(tmp_path / "a", dir__file="content")
    os.mknod(layer / "dir" / "disk", 0o60666, os.makedev(254, 0))
    root = Path(merge(_overlay(tmp_path, layer), "unused"))
    assert os.listdir(root / "dir") == ["file"]


def test_other_filesystems_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="without namespaces"):
        merge(Mount(destination="", type="ext4", source="/dev/x"), str(tmp_path))


@pytest.mark.root
def test_a_container_runs_without_the_right_to_mount(
    bundle: Make, guests: Guests, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    container = bundle("/toolbox.wasm", "put", "/data/new", "written by the guest")
    container.config["mounts"] = [
        {"destination": "/data", "type": "bind", "source": str(volume), "options": ["rbind"]}
    ]
    shutil.copy(guests.toolbox(), container.path / "rootfs" / "toolbox.wasm")
    (container.path / "config.json").write_bytes(msgspec.json.encode(container.config))
    command = "from wherry.runtime.command import main; main()"
    confined = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", command]
    result = subprocess.run(
        [*confined, "run", "--bundle", str(container.path), "plain"],
        env={**os.environ, "WHERRY_ROOT": str(tmp_path)},
        capture_output=True,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert (volume / "new").read_text() == "written by the guest"
