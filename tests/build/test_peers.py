"""Images that were built here, as other tools see them."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from tests import peers
from tests.build.kitchen import Files, Kitchen, link
from tests.conftest import without

from wherry.oci import parse_platform, parse_reference

FILES: Files = {"hello.wasm": b"\0asm\1\0\0\0", "d/e": "E", "d/l": link("e"), "héllo": "unicode"}
LONG = "n" * 120 + "/" + "m" * 120
DOCKERFILE = f"""
FROM scratch AS one
COPY --chown=11:12 --chmod=640 d /data
FROM scratch
COPY hello.wasm héllo /
COPY --from=one / /
WORKDIR /{LONG}
COPY d /data
ENV GREETING="hello world"
LABEL org.example.answer=42
EXPOSE 80
USER 1000
ENTRYPOINT ["/hello.wasm"]
CMD ["--help"]
"""


def run(program: str, *arguments: str) -> str:
    try:
        path = peers.program(program)
    except peers.PeerMissing as error:
        without(str(error))
    done = subprocess.run([path, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_skopeo_reads_it(kitchen: Kitchen) -> None:
    image = kitchen.build(DOCKERFILE, FILES, tags=(parse_reference("hello"),))
    name = f"oci:{kitchen.root}/images:hello:latest"
    seen = json.loads(run("skopeo", "inspect", name))
    assert seen["Digest"] == image.digest
    assert (seen["Os"], seen["Architecture"]) == ("wasi", "wasm")
    assert seen["Layers"] == [layer.digest for layer in image.manifest.layers]
    assert seen["Labels"] == {"org.example.answer": "42"}
    config = json.loads(run("skopeo", "inspect", "--config", name))
    assert config["config"] == {
        "User": "1000",
        "ExposedPorts": {"80/tcp": {}},
        "Env": ["GREETING=hello world"],
        "Entrypoint": ["/hello.wasm"],
        "Cmd": ["--help"],
        "WorkingDir": f"/{LONG}",
        "Labels": {"org.example.answer": "42"},
    }
    layers = [entry for entry in config["history"] if not entry.get("empty_layer")]
    assert len(layers) == len(config["rootfs"]["diff_ids"]) == 4


def test_skopeo_copies_it_with_the_same_digest(kitchen: Kitchen, tmp_path: Path) -> None:
    image = kitchen.build(DOCKERFILE, FILES, tags=(parse_reference("hello"),))
    name = f"oci:{kitchen.root}/images:hello:latest"
    policy = "--insecure-policy"
    run("skopeo", policy, "copy", "--preserve-digests", name, f"oci:{tmp_path}/copy:x")
    assert json.loads(run("skopeo", "inspect", f"oci:{tmp_path}/copy:x"))["Digest"] == image.digest


@pytest.mark.root
def test_umoci_unpacks_it(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.build(DOCKERFILE, FILES, tags=(parse_reference("hello"),))
    root = tmp_path / "rootfs"
    run("umoci", "raw", "unpack", "--image", f"{kitchen.root}/images:hello:latest", str(root))
    assert (root / "hello.wasm").read_bytes() == b"\0asm\1\0\0\0"
    assert (root / "héllo").read_text() == "unicode"
    assert (root / LONG).is_dir()
    assert os.readlink(root / "data" / "l") == "e"
    data = (root / "data").stat()
    assert (data.st_uid, data.st_gid, stat.S_IMODE(data.st_mode)) == (11, 12, 0o755)
    assert (root / "data" / "e").stat().st_uid == 0


@pytest.mark.root
def test_umoci_makes_a_bundle_of_one_for_linux(kitchen: Kitchen, tmp_path: Path) -> None:
    tags = (parse_reference("hello"),)
    kitchen.build(DOCKERFILE, FILES, tags=tags, platforms=(parse_platform("linux/amd64"),))
    bundle = tmp_path / "bundle"
    run("umoci", "unpack", "--image", f"{kitchen.root}/images:hello:latest", str(bundle))
    process = json.loads((bundle / "config.json").read_text())["process"]
    assert process["args"] == ["/hello.wasm", "--help"]
    assert process["cwd"] == f"/{LONG}"
    assert process["user"]["uid"] == 1000
