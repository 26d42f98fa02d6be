"""Which program of an image is compiled ahead."""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from wherry.engine.precompile import Precompiler, find_program
from wherry.images import Image, ImageStore
from wherry.oci import WASM, RuntimeConfig


def _image(**config: object) -> Image:
    defaults = RuntimeConfig(**config)  # type: ignore[arg-type]
    return cast("Image", SimpleNamespace(config=SimpleNamespace(config=defaults)))


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    for layer, names in (("top", ["a.wasm"]), ("base", ["a.wasm", "app/b.wasm"])):
        for name in names:
            path = tmp_path / layer / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\0asm")
    return [tmp_path / "top", tmp_path / "base"]


def test_the_topmost_layer_that_has_the_entrypoint_is_taken(layers: list[Path]) -> None:
    image = _image(entrypoint=["/a.wasm"], cmd=["/other.wasm"])
    assert find_program(image, layers) == layers[0] / "a.wasm"


def test_without_an_entrypoint_the_command_is_taken_from_its_folder(layers: list[Path]) -> None:
    assert find_program(_image(cmd=["b.wasm"], working_dir="/app"), layers) == (
        layers[1] / "app/b.wasm"
    )


@pytest.mark.parametrize("words", [[], ["/nothing.wasm"], ["/app"], ["/../../../etc/passwd"]])
def test_what_is_no_file_of_the_image_is_left_alone(layers: list[Path], words: list[str]) -> None:
    assert find_program(_image(entrypoint=words), layers) is None


def test_links_are_not_followed(layers: list[Path], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"\0asm")
    (layers[0] / "link").symlink_to(outside / "secret")
    (layers[0] / "folder").symlink_to(outside)
    assert find_program(_image(cmd=["/link"]), layers) is None
    with pytest.raises(OSError, match="directory"):
        find_program(_image(cmd=["/folder/secret"]), layers)


async def test_an_image_that_is_to_be_removed_is_let_go_first() -> None:
    begun, unpacked, seen = threading.Event(), threading.Event(), []

    def lowerdirs(image: Image) -> list[Path]:
        seen.append(image.id)
        begun.set()
        unpacked.wait(60)
        return []

    precompiler = Precompiler(cast("ImageStore", SimpleNamespace(lowerdirs=lowerdirs)))
    for id in ("first", "second"):
        image = SimpleNamespace(id=id, platform=WASM, config=SimpleNamespace(config=None))
        precompiler.add(cast("Image", image))
    assert await asyncio.to_thread(begun.wait, 60)
    await precompiler.let_go("second")
    going = asyncio.create_task(precompiler.let_go("first"))
    await asyncio.sleep(0)
    assert not going.done()
    unpacked.set()
    await going
    await precompiler.close()
    assert seen == ["first"]


async def test_of_an_image_without_wasm_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Path] = []
    done = threading.Event()

    async def compile_it(program: Path) -> None:
        compiled.append(program)

    monkeypatch.setattr("wherry.engine.precompile._compile", compile_it)
    for name in ("data", "module"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(b"\0asm")
    store = SimpleNamespace(
        lowerdirs=lambda image: [tmp_path / image.id],
        modules=lambda image: {"some digest"} if image.id == "module" else set(),
        forget_code=lambda modules: done.set(),
    )
    precompiler = Precompiler(cast("ImageStore", store))
    for name in ("data", "module"):
        defaults = SimpleNamespace(config=RuntimeConfig(cmd=["/a"]))
        precompiler.add(cast("Image", SimpleNamespace(id=name, platform=WASM, config=defaults)))
    assert await asyncio.to_thread(done.wait, 60)
    await precompiler.close()
    assert compiled == [tmp_path / "module" / "a"]
