"""Whatever is written keeps the rules of the image-spec's own schemas."""

import json
import tarfile
from pathlib import Path

import jsonschema
import pytest
from tests.images.mover import index_of
from tests.images.samples import image_of, layer_of, member, simple_image, tar_of
from tests.oci_schemas import validate, validate_layout

from wherry.images import ImageStore, LayerWriter
from wherry.oci import MediaType, parse_reference


def test_images_indexes_and_names(store: ImageStore, tmp_path: Path) -> None:
    image = image_of(
        store,
        layer_of(store, tar_of(member("f"))),
        name="hello",
        created="2024-01-01T00:00:00Z",
        stage="x",
    )
    store.tag(image.target, parse_reference("example.com:5000/other:1"))
    with store.hold():
        layers = []
        for compression in ("gzip", "zstd", "none"):
            with LayerWriter(store.blobs, compression=compression) as writer:
                writer.add_file("f", compression.encode())
                layers.append(writer.commit())
        several = image_of(store, *layers)
    store.write_image(
        image.config,
        image.manifest.layers,
        reference=parse_reference("annotated"),
        annotations={"org.opencontainers.image.title": "b"},
    )
    index_of(store, "multi", [(image, "wasi/wasm"), (several, "linux/amd64")])
    assert validate_layout(tmp_path / "data/images") == {
        MediaType.INDEX, MediaType.MANIFEST, MediaType.CONFIG,
        MediaType.LAYER, MediaType.LAYER_GZIP, MediaType.LAYER_ZSTD,
    }  # fmt: skip


def test_what_is_saved_is_a_layout_as_well(store: ImageStore, tmp_path: Path) -> None:
    simple_image(store, "hello")
    with open(tmp_path / "saved.tar", "wb") as out:
        store.save(["hello"], out)
    with tarfile.open(tmp_path / "saved.tar") as tar:
        tar.extractall(tmp_path / "layout", filter="data")
    assert MediaType.MANIFEST in validate_layout(tmp_path / "layout")


def test_the_schemas_can_say_no(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    manifest = json.loads(store.blobs.read(image.digest, 1 << 20))
    validate("image-manifest", manifest)
    wrongs: tuple[dict[str, object], ...] = (
        {"layers": [{}]},
        {"schemaVersion": 1},
        {"config": {**manifest["config"], "digest": "x"}},
    )
    for wrong in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            validate("image-manifest", manifest | wrong)
