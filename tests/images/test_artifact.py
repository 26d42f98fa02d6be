"""Wasm OCI artifacts are images with one file."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from tests.images.samples import WASM, image_of, layer_of, member, saved, tar_of

from wherry.images import DigestMismatch, Image, ImageStore, InvalidImage, InvalidLayer
from wherry.images.artifact_writer import is_conformant, write_artifact
from wherry.oci import Descriptor, Manifest, MediaType, digest_of, encode, parse_reference

TITLE = "org.opencontainers.image.title"


def artifact(
    store: ImageStore,
    *,
    title: str | None = None,
    config: object = None,
    config_type: str = MediaType.WASM_CONFIG,
    layer_type: str = MediaType.WASM_LAYER,
    name: str = "tool",
) -> Image:
    with store.hold():
        layer = store.blobs.write(layer_type, WASM)
        said = {"created": "2024-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2"}
        manifest = Manifest(
            schema_version=2,
            config=store.blobs.write(
                config_type, json.dumps(said if config is None else config).encode()
            ),
            layers=[
                Descriptor(
                    media_type=layer_type,
                    digest=layer.digest,
                    size=layer.size,
                    annotations={TITLE: title} if title else None,
                )
            ],
        )
        target = store.blobs.write(MediaType.MANIFEST, encode(manifest))
        store.tag(target, parse_reference(name))
    return store.resolve(name)


def test_an_artifact_is_an_image_with_its_module_as_entrypoint(store: ImageStore) -> None:
    image = artifact(store, title="hello.wasm")
    assert image.platform.is_wasm
    assert image.created and image.created.year == 2024
    assert image.config.config and image.config.config.entrypoint == ["/hello.wasm"]
    [path] = store.lowerdirs(image)
    assert (path / "hello.wasm").read_bytes() == WASM


@pytest.mark.parametrize(
    ("title", "name"),
    [
        (None, "module.wasm"),
        ("tool", "tool.wasm"),
        ("dir/tool.wasm", "tool.wasm"),
        ("../../etc/passwd", "passwd.wasm"),
        ("..", "module.wasm"),
        ("a\nb", "module.wasm"),
        ("x" * 300, "module.wasm"),
    ],
)
def test_a_title_is_only_ever_a_file_name(store: ImageStore, title: str | None, name: str) -> None:
    image = artifact(store, title=title)
    assert [path.name for path in store.lowerdirs(image)[0].iterdir()] == [name]
    assert image.config.config and image.config.config.entrypoint == [f"/{name}"]


def test_the_same_module_under_two_names(store: ImageStore) -> None:
    first = store.lowerdirs(artifact(store, title="a", name="a"))[0]
    second = store.lowerdirs(artifact(store, title="b", name="b"))[0]
    assert (first / "a.wasm").exists() and (second / "b.wasm").exists()
    store.remove("a")
    assert not first.exists() and second.exists()


@pytest.mark.parametrize(
    ("config_type", "layer_type"),
    [
        ("application/vnd.oci.empty.v1+json", "application/wasm"),
        ("application/vnd.wasm.config.v1+json", "application/vnd.wasm.content.layer.v1+wasm"),
        ("text/plain", "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"),
    ],
)
def test_older_and_plainer_artifacts_are_read(
    store: ImageStore, config_type: str, layer_type: str
) -> None:
    image = artifact(store, config={}, config_type=config_type, layer_type=layer_type)
    assert image.platform.is_wasm
    assert (store.lowerdirs(image)[0] / "module.wasm").read_bytes() == WASM


def pushed(store: ImageStore, *layers: tuple[str, bytes, dict[str, str]]) -> Image:
    """An artifact of layers of any kind, each with its media type, content and annotations."""
    with store.hold():
        described = []
        for kind, content, annotations in layers:
            blob = store.blobs.write(kind, content)
            described.append(
                Descriptor(
                    media_type=kind, digest=blob.digest, size=blob.size, annotations=annotations
                )
            )
        config = store.blobs.write(MediaType.EMPTY, b"{}")
        manifest = Manifest(schema_version=2, config=config, layers=described)
        target = store.blobs.write(MediaType.MANIFEST, encode(manifest))
        store.tag(target, parse_reference("pushed"))
    return store.resolve("pushed")


def files(store: ImageStore, image: Image) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for folder in store.lowerdirs(image)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


MODULE = ("application/wasm", WASM, {TITLE: "app.wasm"})


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.wasm.content.layer.v1+wasm",
        "application/vnd.module.wasm.content.layer.v1+wasm",
        "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
        "application/vnd.wasm.component.v1",
        "application/octet-stream",
        MediaType.LAYER,
    ],
)
def test_a_module_is_one_by_its_media_type_or_its_title(store: ImageStore, kind: str) -> None:
    assert files(store, pushed(store, (kind, WASM, {TITLE: "app.wasm"}))) == {"app.wasm": WASM}


def test_what_has_a_title_is_a_file_and_what_has_none_is_nothing(store: ImageStore) -> None:
    image = pushed(
        store,
        ("text/plain", b"notes", {TITLE: "docs/notes.txt"}),
        MODULE,
        ("application/vnd.example.signature", b"signed", {}),
        ("text/plain", b"hidden", {TITLE: "../.."}),
    )
    assert files(store, image) == {"app.wasm": WASM, "notes.txt": b"notes"}
    assert image.config.config and image.config.config.entrypoint == ["/app.wasm"]


def test_no_artifact_takes_the_files_of_a_layer_away_from_an_image(store: ImageStore) -> None:
    """It has the very tar, and calls it something that has no files."""
    tar = tar_of(member("etc/login", b"asks for a password"))
    assert files(store, pushed(store, MODULE, ("application/x-other", tar, {}))) == {
        "app.wasm": WASM
    }
    image = image_of(store, layer_of(store, tar), name="trusted")
    assert files(store, image) == {"etc/login": b"asks for a password"}


def test_a_folder_that_oras_packed_is_unpacked(store: ImageStore) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        logo = tarfile.TarInfo("assets/logo.svg")
        logo.size = 4
        tar.addfile(logo, io.BytesIO(b"<svg"))
    annotations = {
        TITLE: "assets.wasm",  # whatever it is called
        "io.deis.oras.content.unpack": "true",
        "io.deis.oras.content.digest": digest_of(packed.getvalue()),
    }
    image = pushed(
        store, MODULE, (MediaType.LAYER_GZIP, gzip.compress(packed.getvalue()), annotations)
    )
    assert files(store, image) == {"app.wasm": WASM, "assets/logo.svg": b"<svg"}


def test_a_folder_that_is_not_what_it_says_is_refused(store: ImageStore) -> None:
    annotations = {"io.deis.oras.content.digest": "sha256:" + "0" * 64}
    with pytest.raises((DigestMismatch, InvalidLayer)):
        files(store, pushed(store, MODULE, (MediaType.LAYER_GZIP, gzip.compress(b""), annotations)))


@pytest.mark.parametrize("said", ["junk", "sha256:xyz", "../../etc"])
def test_a_digest_that_is_none_is_told(store: ImageStore, said: str) -> None:
    with pytest.raises(InvalidImage):
        pushed(store, MODULE, (MediaType.LAYER_GZIP, b"", {"io.deis.oras.content.digest": said}))


def test_an_artifact_is_written_the_same_each_time_and_read_again(store: ImageStore) -> None:
    with store.hold():
        first, second = (
            write_artifact(
                store.blobs, io.BytesIO(WASM), "app.wasm", annotations={"b": "2", "a": "1"}
            )
            for _ in range(2)
        )
        assert first == second
        store.enter(first, [parse_reference("made")])
    image = store.resolve("made")
    assert is_conformant(image.manifest)
    assert str(image.platform) == "wasip1/wasm"
    assert files(store, image) == {"app.wasm": WASM}


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"(module)", WASM[:5]])
def test_no_artifact_is_made_of_what_is_no_module(store: ImageStore, content: bytes) -> None:
    with store.hold(), pytest.raises(InvalidImage, match=r"app\.wasm: "):
        write_artifact(store.blobs, io.BytesIO(content), "app.wasm")


def test_what_is_neither_image_nor_artifact_is_told(store: ImageStore) -> None:
    with pytest.raises(InvalidImage, match="helm"):
        artifact(
            store,
            config_type="application/vnd.cncf.helm.config.v1+json",
            layer_type="application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        )


@pytest.mark.parametrize("config", [[], "x", {"os": 5}, None])
def test_a_broken_config_is_told(store: ImageStore, config: object) -> None:
    if config is None:
        assert artifact(store)
    else:
        with pytest.raises(InvalidImage, match="Wasm config"):
            artifact(store, config=config)


def test_a_damaged_module_is_refused(store: ImageStore) -> None:
    image = artifact(store)
    store.blobs.path(image.blobs[-1]).write_bytes(b"\0asm\1\0\0\1")
    with pytest.raises(DigestMismatch):
        store.lowerdirs(image)


def test_an_artifact_travels(store: ImageStore, tmp_path: Path) -> None:
    image = artifact(store)
    other = ImageStore(tmp_path / "other")
    assert other.load(io.BytesIO(saved(store, "tool"))) == ["tool:latest"]
    assert other.resolve("tool").digest == image.digest
