"""Wasm OCI artifacts are images with one file."""

import io
import json
from pathlib import Path

import pytest
from tests.images.samples import WASM, saved

from wherry.images import DigestMismatch, Image, ImageStore, InvalidImage
from wherry.oci import Descriptor, Manifest, MediaType, encode, parse_reference

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
