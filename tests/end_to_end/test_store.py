"""The store and its archives, read and written by other people's tools."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests import peers
from tests.conftest import without
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests
from tests.images.samples import image_of, layer_of, member, tar_of

from wherry.images import ImageStore

EVERY_IMAGE = (
    "images",
    "-a",
    "--no-trunc",
    "--format",
    "{{.ID}} {{.Repository}} {{.Tag}} {{.Size}}",
)
"""What the store has, without the age of it: that changes while a test looks."""


def skopeo(*words: str | Path) -> str:
    try:
        program = peers.program("skopeo")
    except peers.PeerMissing as error:
        without(str(error))
    command = [program, "--insecure-policy", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_skopeo_reads_the_store(wherry: Wherry, hello: str) -> None:
    found = json.loads(skopeo(
        "--override-os", "wasi", "--override-arch", "wasm",
        "inspect", f"oci:{wherry.root}/images:{hello}:latest",
    ))  # fmt: skip
    assert (found["Os"], found["Architecture"]) == ("wasi", "wasm")


def test_skopeo_copies_out_of_the_store(wherry: Wherry, hello: str, tmp_path: Path) -> None:
    skopeo("copy", f"oci:{wherry.root}/images:{hello}:latest", f"dir:{tmp_path}/copy")
    assert (tmp_path / "copy" / "manifest.json").exists()


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_skopeo_reads_what_save_writes(
    wherry: Wherry, hello: str, tmp_path: Path, kind: str
) -> None:
    wherry.ok("save", "-o", tmp_path / "saved.tar", hello)
    name = f"{kind}:{tmp_path}/saved.tar:{hello}:latest"
    skopeo("copy", name, f"dir:{tmp_path}/copy")
    assert (tmp_path / "copy" / "manifest.json").exists()


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_load_reads_what_skopeo_writes(
    wherry: Wherry, hello: str, tmp_path: Path, kind: str
) -> None:
    archive = tmp_path / "copied.tar"
    name = f"{kind}:{archive}:travelled:{kind}"
    skopeo("copy", f"oci:{wherry.root}/images:{hello}:latest", name)
    assert f"travelled:{kind}" in wherry.ok("load", "-i", archive)
    assert "hello from" in wherry.ok("run", "--rm", f"travelled:{kind}")


def test_load_reads_what_save_writes(wherry: Wherry, fresh_wherry: Wherry, hello: str) -> None:
    wherry.ok("save", "-o", wherry.folder / "saved.tar", hello)
    identity = wherry.ok("images", "-q", "--no-trunc", hello)
    for archive in (wherry.folder / "saved.tar", wherry.folder / "saved.tar.gz"):
        if archive.suffix == ".gz":
            archive.write_bytes(gzip.compress((wherry.folder / "saved.tar").read_bytes()))
        fresh_wherry.ok("load", "-i", archive)
        assert fresh_wherry.ok("images", "-q", "--no-trunc", hello) == identity
    assert "hello from" in fresh_wherry.ok("run", "--rm", hello)


@pytest.mark.root
@pytest.mark.dockerd
def test_docker_and_the_store_exchange_archives(
    wherry: Wherry, dockerd: peers.Dockerd, tmp_path: Path
) -> None:
    """An image for Linux, since a Docker before 23 refuses to load one for wasi."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY a /a\nCMD ["/a"]\n')
    wherry.ok("build", "-q", "--platform", "linux/amd64", "-t", "there:1", tmp_path)
    wherry.ok("save", "-o", tmp_path / "saved.tar", "there:1")
    loaded = dockerd.docker("load", "-i", str(tmp_path / "saved.tar"))
    assert "there:1" in loaded.stdout, loaded.stderr
    dockerd.docker("tag", "there:1", "back:again")
    saved = dockerd.docker("save", "-o", str(tmp_path / "docker.tar"), "back:again")
    assert saved.returncode == 0, saved.stderr
    assert "back:again" in wherry.ok("load", "-i", tmp_path / "docker.tar")
    template = "{{index .RootFS.Layers 0}} {{.Os}}/{{.Architecture}}"
    assert wherry.ok("image", "inspect", "-f", template, "back:again") == wherry.ok(
        "image", "inspect", "-f", template, "there:1"
    )


def test_the_runtime_runs_what_umoci_unpacks(wherry: Wherry, hello: str, tmp_path: Path) -> None:
    """Image, umoci's root filesystem, `wherry-runtime run`: no engine in between."""
    try:
        umoci = peers.program("umoci")
    except peers.PeerMissing as error:
        without(str(error))
    skopeo("copy", f"oci:{wherry.root}/images:{hello}:latest", f"oci:{tmp_path}/layout:{hello}")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    words = ("raw", "unpack", "--image", f"{tmp_path}/layout:{hello}", str(bundle / "rootfs"))
    done = subprocess.run([umoci, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    runtime = Path(wherry.command).parent / "wherry-runtime"
    subprocess.run([runtime, "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"args": ["/hello.wat"], "terminal": False}
    (bundle / "config.json").write_text(json.dumps(config))
    done = subprocess.run(
        [runtime, "run", "--bundle", bundle, "from-umoci"],
        env=wherry.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "hello from a WebAssembly container\n"), done


def layout_with(folder: Path, layer: bytes, *, digest: str | None = None) -> Path:
    """An OCI archive with one gzip layer; `digest` lies about it."""
    blobs = folder / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, name: str | None = None) -> dict[str, object]:
        real = hashlib.sha256(data).hexdigest()
        (blobs / (name or real)).write_bytes(data)
        return {"digest": f"sha256:{name or real}", "size": len(data)}

    diff = hashlib.sha256(layer).hexdigest()
    config = {
        "os": "wasi", "architecture": "wasm", "config": {"Entrypoint": ["/m.wasm"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
    }  # fmt: skip
    image = "application/vnd.oci.image."
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{image}manifest.v1+json",
        "config": {"mediaType": f"{image}config.v1+json", **blob(json.dumps(config).encode())},
        "layers": [
            {"mediaType": f"{image}layer.v1.tar+gzip", **blob(gzip.compress(layer), digest)}
        ],
    }
    entry = {
        "mediaType": f"{image}manifest.v1+json",
        **blob(json.dumps(manifest).encode()),
        "annotations": {"org.opencontainers.image.ref.name": "bad:latest"},
    }
    root = folder / "layout"
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    archive = folder / "bad.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root, arcname=".")
    shutil.rmtree(root)
    return archive


def test_a_program_that_is_a_link_to_one_of_a_lower_layer_runs(
    wherry: Wherry, guests: Guests, tmp_path: Path
) -> None:
    store = ImageStore(tmp_path / "made")
    module = member("lib/toolbox.wasm", guests.toolbox().read_bytes(), mode=0o755)
    lower = layer_of(store, tar_of(module, member("b", type=tarfile.SYMTYPE, linkname="lib")))
    link = member("hello.wasm", type=tarfile.LNKTYPE, linkname="b/toolbox.wasm")
    upper = layer_of(store, tar_of(link))
    image_of(store, lower, upper, name="linked")
    with open(tmp_path / "archive.tar", "wb") as out:
        store.save(["linked"], out)
    wherry.ok("load", "-i", tmp_path / "archive.tar")
    assert wherry.ok("run", "--rm", "linked", "pwd") == "/"
    (tmp_path / "Dockerfile").write_text("FROM linked\nCOPY --from=linked /hello.wasm /copy.wasm")
    (tmp_path / ".dockerignore").write_text("*")
    wherry.ok("build", "-q", "-t", "copied", tmp_path)
    wherry.ok("rmi", "copied", "linked")


def test_a_layer_whose_digest_does_not_match_is_refused(wherry: Wherry, tmp_path: Path) -> None:
    archive = layout_with(tmp_path, b"\0" * 1024, digest="0" * 64)
    before = wherry.ok(*EVERY_IMAGE)
    message = wherry.refused("load", "-i", archive, code=1)
    assert "sha256:0000" in message
    assert wherry.ok(*EVERY_IMAGE) == before
    assert not (wherry.root / "images" / "blobs" / "sha256" / ("0" * 64)).exists()


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_a_truncated_archive_is_refused(
    wherry: Wherry, hello: str, tmp_path: Path, cut: float
) -> None:
    wherry.ok("save", "-o", tmp_path / "whole.tar", hello)
    data = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "part.tar").write_bytes(data[: int(len(data) * cut)])
    before = wherry.ok(*EVERY_IMAGE)
    wherry.refused("load", "-i", tmp_path / "part.tar", code=1)
    assert wherry.ok(*EVERY_IMAGE) == before


def test_something_that_is_no_archive_is_refused(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an archive at all\n" * 100)
    wherry.refused("load", "-i", tmp_path / "notes.txt", code=1)


def evil_layer(module: bytes, *members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A layer with m.wasm and `members`."""
    import io

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("m.wasm")
        info.size = len(module)
        tar.addfile(info, io.BytesIO(module))
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("what", "members"),
    [
        ("dot-dot", [(entry("../../../../../../../tmp/wherry-escaped"), b"x")]),
        ("absolute", [(entry("/tmp/wherry-escaped"), b"x")]),
        (
            "through a link",
            [(entry("out", tarfile.SYMTYPE, "/tmp"), b""), (entry("out/wherry-escaped"), b"x")],
        ),
        (
            "through a relative link",
            [
                (entry("out", tarfile.SYMTYPE, "../../../../../../../../tmp"), b""),
                (entry("out/wherry-escaped"), b"x"),
            ],
        ),
        ("a hard link out", [(entry("shadow", tarfile.LNKTYPE, "../../../../../etc/passwd"), b"")]),
        ("a device", [(entry("dev/kmem", tarfile.CHRTYPE), b"")]),
    ],
)
def test_no_layer_reaches_outside_its_root(
    wherry: Wherry, toolbox: str, guests: object, tmp_path: Path, what: str,
    members: list[tuple[tarfile.TarInfo, bytes]],
) -> None:  # fmt: skip
    from tests.guests.toolchain import Guests

    assert isinstance(guests, Guests)
    escaped = Path("/tmp/wherry-escaped")  # the place the layers aim at
    archive = layout_with(tmp_path, evil_layer(guests.toolbox().read_bytes(), *members))
    loaded = wherry("load", "-i", archive)
    ran = wherry("run", "--rm", "bad:latest", "cat", "/shadow")
    assert not escaped.exists(), f"{what}: {loaded.said}"
    assert "root:x:" not in ran.out
    assert "Traceback" not in loaded.err + ran.err
    wherry("rmi", "-f", "bad:latest")


def test_tag_moves_a_name_and_rmi_counts_them(wherry: Wherry, hello: str) -> None:
    wherry.ok("tag", hello, "other/name:v1")
    identity = wherry.ok("images", "-q", "--no-trunc", hello)
    assert wherry.ok("images", "-q", "--no-trunc", "other/name") == identity
    out = wherry.ok("rmi", "other/name:v1")
    assert "Untagged: other/name:v1" in out
    assert "Deleted" not in out
    assert wherry.ok("images", "-q", "--no-trunc", hello) == identity


def test_rmi_refuses_an_image_in_use(wherry: Wherry, hello: str) -> None:
    wherry.ok("tag", hello, "used:1")
    identity = wherry.ok("create", "used:1")
    wherry.refused("rmi", wherry.ok("images", "-q", hello), code=1)
    wherry.ok("rm", identity)
    wherry.ok("rmi", "used:1")


def test_prune_frees_what_nobody_names(wherry: Wherry, tmp_path: Path) -> None:
    for text in ("1", "2"):
        (tmp_path / "a").write_text(text * 1000)
        (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY a /a\n")
        wherry.ok("build", "-q", "-t", "moving", tmp_path)
    dangling = wherry.ok("images", "-q", "--no-trunc", "--filter", "dangling=true").split()
    assert len(dangling) == 1
    assert dangling[0] in wherry.ok("image", "prune", "-f")
    assert wherry.ok("images", "-q", "--filter", "dangling=true") == ""
    assert wherry.ok("images", "-q", "moving")
