"""Who gets a network: told from the program, once for each image."""

import asyncio
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from wherry.engine.config import ContainerConfig, HostConfig
from wherry.engine.containers.networking import programs
from wherry.engine.containers.networking.programs import Programs
from wherry.engine.record import Mounted, Record

_NOTHING = b"(module)"
_PRINTS = b'(module (import "wasi_snapshot_preview1" "fd_write" (func)))'
_OPENS = b'(module (import "wasi_snapshot_preview1" "sock_open" (func)))'
_ACCEPTS = b'(module (import "wasi_snapshot_preview1" "sock_accept" (func)))'


def record(layers: list[Path], *args: str, **options: object) -> Record:
    return Record(
        id="c" * 64,
        name="c",
        created=0,
        config=ContainerConfig(),
        host=HostConfig(),
        image_id="sha256:" + "1" * 64,
        args=list(args),
        layers=[str(layer) for layer in layers],
        **{"platform": "wasi/wasm", "mounts": [], **options},  # type: ignore[arg-type]
    )


def wants(found: Record, upper: Path, *, has_ports: bool = False) -> bool:
    return asyncio.run(Programs().wants_network(found, upper, has_ports=has_ports))


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    folder = tmp_path / "layer"
    (folder / "bin").mkdir(parents=True)
    (tmp_path / "upper").mkdir()
    return folder


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
@pytest.mark.parametrize(
    ("text", "plain", "with_ports"),
    [(_NOTHING, False, False), (_PRINTS, False, False), (_OPENS, True, True)],
)
def test_only_what_imports_sockets_wants_a_network(
    layer: Path, text: bytes, plain: bool, with_ports: bool, binary: bool
) -> None:
    (layer / "a.wasm").write_bytes(wat2wasm(text) if binary else text)
    found, upper = record([layer], "/a.wasm"), layer.parent / "upper"
    assert wants(found, upper) == plain
    assert wants(found, upper, has_ports=True) == with_ports


def test_who_only_accepts_wants_one_if_there_is_a_port(layer: Path) -> None:
    (layer / "a.wasm").write_bytes(wat2wasm(_ACCEPTS))
    found, upper = record([layer], "a.wasm"), layer.parent / "upper"
    assert not wants(found, upper)
    assert wants(found, upper, has_ports=True)


def test_what_cannot_be_told_counts_as_yes(layer: Path, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (layer / "link.wasm").symlink_to("/bin/other.wasm")
    (layer / "bin" / "plain.wasm").write_bytes(wat2wasm(_NOTHING))
    volume = Mounted(type="volume", destination="/bin")
    assert wants(record([layer], "/link.wasm"), upper)
    assert not wants(record([layer], "/bin/plain.wasm"), upper)
    assert wants(record([layer], "/bin/plain.wasm", mounts=[volume]), upper)
    assert wants(record([layer], "/bin/sh", platform="linux/amd64"), upper)
    (layer / "broken.wasm").write_bytes(b"\0asm\1\0\0\0\x02\xff")
    assert wants(record([layer], "/broken.wasm"), upper)


def test_what_does_not_run_wants_none(layer: Path, tmp_path: Path) -> None:
    (layer / "bin" / "native").write_bytes(b"\x7fELF")
    assert not wants(record([layer], "/nothing.wasm"), tmp_path / "upper")
    assert not wants(record([layer], "/bin/native"), tmp_path / "upper")


def test_the_topmost_file_counts_and_what_the_container_wrote_before(
    layer: Path, tmp_path: Path
) -> None:
    above, upper = tmp_path / "above", tmp_path / "upper"
    above.mkdir()
    (layer / "a.wasm").write_bytes(wat2wasm(_OPENS))
    (above / "a.wasm").write_bytes(wat2wasm(_NOTHING))
    assert not wants(record([above, layer], "a.wasm"), upper)
    (upper / "a.wasm").write_bytes(wat2wasm(_OPENS))
    assert wants(record([above, layer], "a.wasm"), upper)


async def test_an_image_is_looked_at_once(
    layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layer / "a.wasm").write_bytes(wat2wasm(_OPENS))
    known, upper = Programs(), tmp_path / "upper"
    assert await known.wants_network(record([layer], "/a.wasm"), upper, has_ports=False)
    monkeypatch.setattr(programs, "_look", lambda *_: pytest.fail("looked at again"))
    assert await known.wants_network(record([layer], "/a.wasm"), upper, has_ports=False)
