"""`wherry build --output`: files and archives instead of an image, or beside it."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.end_to_end.linux_builds import folder
from tests.engine_under_test import Wherry
from tests.registries import registry

TEXT = "FROM scratch\nCOPY a /bin/a\nCOPY sub /sub\nCOPY --chmod=700 a /private\n"


@pytest.fixture
def context(wherry: Wherry) -> Path:
    return folder(wherry, TEXT, a="A", sub__b="B")


def untagged(wherry: Wherry) -> str:
    return wherry.ok("images", "-q", "--filter", "dangling=true")


def test_files_come_to_a_folder_and_no_image_stays(wherry: Wherry, context: Path) -> None:
    out = wherry.folder / "out"
    out.mkdir(mode=0o750)
    (out / "mine").write_text("kept")
    (out / "private").write_text("replaced")
    before = untagged(wherry)
    wherry.ok("build", "-o", out, context)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {"mine", "private", "bin/a", "sub/b"}
    assert (out / "private").read_text() == "A"
    assert stat.S_IMODE((out / "private").stat().st_mode) == 0o700
    assert stat.S_IMODE(out.stat().st_mode) == 0o750
    assert untagged(wherry) == before


def test_a_tar_on_stdout_is_nothing_but_a_tar(wherry: Wherry, context: Path) -> None:
    argv = wherry.argv("build", "-o", "-", context)
    done = subprocess.run(argv, env=wherry.environment, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert {"bin", "bin/a", "private", "sub", "sub/b"} <= set(tar.getnames())


def test_several_outputs_beside_an_image(wherry: Wherry, context: Path) -> None:
    archive, files = wherry.folder / "x.tar", wherry.folder / "files.tar"
    wherry.ok("build", "-q", "-t", "other", context)  # the image has two names, the archive one
    wherry.ok(
        "build", "-t", "named", "--output", "type=image", "--output", f"type=oci,dest={archive}",
        "--output", f"type=tar,dest={files}", context,
    )  # fmt: skip
    identity = wherry.ok("images", "-q", "--no-trunc", "named")
    with tarfile.open(archive) as tar:
        index = tar.extractfile("index.json")
        assert index is not None
        (manifest,) = json.load(index)["manifests"]
        assert manifest["annotations"]["org.opencontainers.image.ref.name"] == "named:latest"
    wherry.ok("rmi", "named")
    assert "named:latest" in wherry.ok("load", "-i", archive)
    assert wherry.ok("images", "-q", "--no-trunc", "named") == identity
    with tarfile.open(files) as tar:
        assert "sub/b" in tar.getnames()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("type=local", "dest=FOLDER is missing"),
        ("type=cloud,dest=x", "type=cloud: known are"),
        ("dest=x", "type=… is missing"),
        ("type=tar,x", "not of the form key=value"),
        ("type=registry", "give it one with -t"),
    ],
)
def test_what_is_no_output_says_so(
    wherry: Wherry, context: Path, output: str, message: str
) -> None:
    assert message in wherry.refused("build", "--output", output, context, code=1)


@pytest.mark.root
def test_it_is_pushed(wherry: Wherry, context: Path) -> None:
    with registry() as real:
        name = f"{real.name}/team/app:1"
        text = wherry.ok("build", "-t", name, "--push", context)
        assert "Successfully built" in text
        identity = wherry.ok("images", "-q", "--no-trunc", name)
        wherry.ok("rmi", name)
        wherry.ok("pull", "-q", name)
        assert wherry.ok("images", "-q", "--no-trunc", name) == identity
