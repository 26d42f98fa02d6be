"""Bind mounts, volumes, tmpfs, and `cp`: what a guest sees of the host, and what not."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from tests.end_to_end.mounted_image import assert_mounted, build_layered
from tests.engine_under_test import Wherry


def test_bind_mount_is_read_and_written(wherry: Wherry, toolbox: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host")
    mount = ("-v", f"{tmp_path}:/data")
    assert wherry.ok("run", "--rm", *mount, toolbox, "cat", "/data/in") == "from the host"
    wherry.ok("run", "--rm", *mount, toolbox, "put", "/data/out", "from the guest")
    assert (tmp_path / "out").read_text() == "from the guest"


def test_long_form_of_mounts(wherry: Wherry, toolbox: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    mount = ("--mount", f"type=bind,source={tmp_path},target=/data,readonly")
    assert wherry.ok("run", "--rm", *mount, toolbox, "cat", "/data/in") == "x"
    assert wherry("run", "--rm", *mount, toolbox, "put", "/data/out", "y").code != 0


@pytest.mark.parametrize("word", ["put", "append"])
def test_read_only_bind_mount_refuses_writes(
    wherry: Wherry, toolbox: str, tmp_path: Path, word: str
) -> None:
    (tmp_path / "in").write_text("x")
    mount = ("-v", f"{tmp_path}:/data:ro")
    assert wherry("run", "--rm", *mount, toolbox, word, "/data/in", "y").code != 0
    assert (tmp_path / "in").read_text() == "x"


def test_missing_source_of_a_mount_is_named(wherry: Wherry, toolbox: str) -> None:
    message = wherry.refused(
        "run", "--rm", "--mount", "type=bind,source=/no/such,target=/d", toolbox, "pwd", code=125
    )
    assert "/no/such" in message


def test_images_can_be_mounted(wherry: Wherry, toolbox: str) -> None:
    assert_mounted(wherry, toolbox)


def test_a_mounted_image_stays_as_long_as_its_container(wherry: Wherry, toolbox: str) -> None:
    mount = ("--mount", f"type=image,source={build_layered(wherry)},target=/m")
    wherry.ok("create", "--name", "mounts", *mount, toolbox, "cat", "/m/sub/b")
    shown = wherry.ok(
        "inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Name}} {{.RW}}{{end}}", "mounts"
    )
    assert shown == "image layered false"
    assert "used by a container" in wherry.refused("rmi", "layered", code=1)
    wherry.ok("rmi", "-f", "layered")
    wherry.ok("image", "prune", "-f")
    (layer,) = (wherry.root / "layers").glob("*/fs/sub/b")
    shutil.rmtree(layer.parents[2])
    assert "container mounts: of its image's files" in wherry("system", "check").out
    wherry("system", "check", "--repair")
    assert wherry.ok("start", "-a", "mounts") == "2"
    wherry.ok("cp", "mounts:/m", wherry.folder / "copied")
    assert (wherry.folder / "copied" / "sub" / "a").read_text() == "1"
    wherry.ok("rm", "mounts")
    assert "Deleted" in wherry.ok("image", "prune", "-f")


def test_an_image_to_mount_that_is_not_here_is_named(wherry: Wherry, toolbox: str) -> None:
    mount = ("--mount", "type=image,source=no-such,target=/m")
    message = wherry.refused("run", "--rm", *mount, toolbox, "pwd", code=125)
    assert "no such image: no-such" in message


def test_what_a_guest_wrote_into_a_volume_leads_to_no_part_of_the_host(
    wherry: Wherry, toolbox: str
) -> None:
    wherry.ok("run", "--rm", "-v", "trap:/v", toolbox, "mkdir", "/v/sub")
    wherry.ok("run", "--rm", "-v", "trap:/v", toolbox, "put", "/v/sub/file", "x")
    (trap,) = (wherry.root / "volumes" / "trap").iterdir()
    (trap / "out").symlink_to("/etc")
    (trap / "in").symlink_to("/sub")
    part = "type=volume,source=trap,target=/m,volume-subpath="
    assert wherry.ok("run", "--rm", "--mount", f"{part}in", toolbox, "cat", "/m/file") == "x"
    message = wherry.refused(
        "run", "--rm", "--mount", f"{part}out", toolbox, "list", "/m", code=125
    )
    assert "'out' of volume trap cannot be mounted: No such file" in message
    message = wherry.refused("run", "--rm", "--mount", f"{part}../..", toolbox, "pwd", code=125)
    assert "it must lie in the volume" in message
    wherry.ok("volume", "rm", "trap")


def test_named_volume_outlives_its_containers(wherry: Wherry, toolbox: str) -> None:
    wherry.ok("run", "--rm", "-v", "hold:/data", toolbox, "put", "/data/x", "kept")
    assert wherry.ok("run", "--rm", "-v", "hold:/data:ro", toolbox, "cat", "/data/x") == "kept"
    assert wherry("run", "--rm", "-v", "hold:/data:ro", toolbox, "put", "/data/x", "n").code != 0
    assert "hold" in wherry.ok("volume", "ls", "-q").split()
    assert wherry.ok("volume", "inspect", "-f", "{{.Name}} {{.Driver}}", "hold") == "hold local"
    assert wherry.ok("volume", "rm", "hold") == "hold"
    assert "hold" not in wherry.ok("volume", "ls", "-q").split()


def test_volume_in_use_is_not_removed(wherry: Wherry, toolbox: str) -> None:
    identity = wherry.ok("create", "-v", "busy:/data", toolbox, "pwd")
    assert "in use" in wherry.refused("volume", "rm", "busy", code=1)
    wherry.ok("rm", identity)
    wherry.ok("volume", "rm", "busy")


def test_volume_create_and_prune(wherry: Wherry) -> None:
    assert wherry.ok("volume", "create", "--label", "a=b", "spare") == "spare"
    assert "spare" in wherry.ok("volume", "prune", "-af")
    assert "spare" not in wherry.ok("volume", "ls", "-q").split()


def test_new_volume_starts_with_what_the_image_has_there(
    wherry: Wherry, toolbox: str, tmp_path: Path
) -> None:
    (tmp_path / "seed").write_text("seeded")
    (tmp_path / "Dockerfile").write_text(f"FROM {toolbox}\nCOPY seed /data/seed\nVOLUME /data\n")
    wherry.ok("build", "-q", "-t", "seeded", tmp_path)
    assert wherry.ok("run", "--rm", "-v", "v1:/data", "seeded", "cat", "/data/seed") == "seeded"
    assert wherry.ok("run", "--rm", "seeded", "cat", "/data/seed") == "seeded"


def test_tmpfs_is_empty_and_forgotten(wherry: Wherry, toolbox: str) -> None:
    mount = ("--mount", "type=tmpfs,target=/scratch")
    identity = wherry.ok("create", *mount, toolbox, "append", "/scratch/x", "y")
    wherry.ok("start", "-a", identity)
    wherry.ok("rm", identity)
    assert wherry.ok("run", "--rm", *mount, toolbox, "list", "/scratch") == ""


def test_climbing_out_of_a_mount_ends_at_the_containers_root(
    wherry: Wherry, toolbox: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("of the host")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "up").symlink_to("../secret")
    (inner / "absolute").symlink_to(tmp_path / "secret")
    for path in ("/d/../secret", "/d/up", "/d/absolute", f"/d/../../../../{tmp_path}/secret"):
        done = wherry("run", "--rm", "-v", f"{inner}:/d", toolbox, "cat", path)
        assert done.code != 0, f"{path} was read"
        assert "of the host" not in done.out


def test_cp_both_ways(wherry: Wherry, toolbox: str, tmp_path: Path) -> None:
    identity = wherry.ok("create", toolbox, "cat", "/in/a")
    (tmp_path / "a").write_text("copied in")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b").write_text("b")
    wherry.ok("cp", tmp_path / "folder", f"{identity}:/in")
    wherry.ok("cp", tmp_path / "a", f"{identity}:/in/a")
    assert wherry.ok("start", "-a", identity) == "copied in"
    wherry.ok("cp", f"{identity}:/in/.", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]
    piped = wherry.ok("cp", f"{identity}:/in/b", "-")
    with tarfile.open(fileobj=io.BytesIO(piped.encode())) as archive:
        assert archive.getnames() == ["b"]
    wherry.ok("rm", identity)


def test_cp_from_a_container_cannot_leave_it(wherry: Wherry, toolbox: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    identity = wherry.ok(
        "create", toolbox, "symlink", f"../../../../../../../..{tmp_path}/secret", "/link"
    )
    wherry.ok("start", "-a", identity)
    for path in ("/link", f"/../../../../../..{tmp_path}/secret"):
        done = wherry("cp", "-L", f"{identity}:{path}", tmp_path / "stolen")
        assert done.code == 1, done.said
        assert not (tmp_path / "stolen").exists()
    (tmp_path / "gift").write_text("planted")
    wherry("cp", tmp_path / "gift", f"{identity}:/link")
    assert (tmp_path / "secret").read_text() == "of the host"
    wherry.ok("rm", identity)
