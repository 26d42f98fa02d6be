"""Images for several platforms, as the engine shows and runs them."""

import json

import pytest
from tests.engine.kitchen import GUESTS, make
from wasmtime import wat2wasm

from wherry import linux_runtime
from wherry.engine import Engine, InvalidRequest, NotFound
from wherry.engine.filters import Filters
from wherry.images import LayerWriter
from wherry.oci import (
    HOST,
    WASM,
    Descriptor,
    ImageConfig,
    MediaType,
    Platform,
    RootFS,
    RuntimeConfig,
    encode,
    parse_platform,
    parse_reference,
)

FAR = parse_platform("linux/s390x")


def multi(engine: Engine, *platforms: Platform, absent: tuple[Platform, ...] = ()) -> None:
    """An image `multi` for these platforms; of those `absent` only the index knows."""
    store = engine.store
    with store.hold():
        with LayerWriter(store.blobs) as writer:
            module = wat2wasm((GUESTS / "exit.wat").read_text())
            writer.add_file("exit.wasm", bytes(module), mode=0o755)
            layer = writer.commit()
        manifests = []
        for platform in platforms:
            config = ImageConfig(
                architecture=platform.architecture,
                os=platform.os,
                rootfs=RootFS(diff_ids=[layer.diff_id]),
                config=RuntimeConfig(cmd=["/exit.wasm"]),
            )
            manifests.append(store.write_manifest(config, [layer.descriptor]).target)
        for number, platform in enumerate(absent):
            manifests.append(
                Descriptor(
                    media_type=MediaType.MANIFEST,
                    digest=f"sha256:{number:064x}",
                    size=7,
                    platform=platform,
                )
            )
        about = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": manifests[0].digest,
        }
        unknown = Platform(architecture="unknown", os="unknown")
        manifests.append(
            Descriptor(
                media_type=MediaType.MANIFEST,
                digest="sha256:" + "e" * 64,
                size=7,
                platform=unknown,
                annotations=about,
            )
        )
        store.enter(store.write_index(manifests), [parse_reference("multi")])


async def test_its_platforms_are_told_as_docker_tells_them(engine: Engine) -> None:
    multi(engine, WASM, HOST, absent=(FAR,))
    container = await make(engine, image="multi")
    [listed] = [one for one in engine.images.list() if one.repo_tags == ["multi:latest"]]
    shown = engine.images.inspect("multi")
    await engine.images.add_manifests([listed, shown])
    assert listed.manifests == shown.manifests
    assert shown.descriptor.media_type == MediaType.INDEX
    assert isinstance(shown.manifests, list)
    wasm, host, far, about = shown.manifests
    assert [one.kind for one in shown.manifests] == ["image", "image", "image", "attestation"]
    assert [one.available for one in shown.manifests] == [True, True, False, False]
    assert far.size.content == far.size.total == 0
    config = engine.images.resolve("multi", "wasi/wasm")
    assert wasm.size.content == config.size
    assert wasm.size.total > wasm.size.content
    told = [one.image_data for one in (wasm, host, far)]
    assert [str(one.platform) for one in told if one] == ["wasi/wasm", str(HOST), str(FAR)]
    chosen = HOST if linux_runtime.is_there() else WASM
    assert [one.containers for one in told if one] == [
        [container.id] if platform == chosen else [] for platform in (WASM, HOST, FAR)
    ]
    assert b'"AttestationData":{"For":"' + wasm.id.encode() in encode(about)
    assert b'"ImageData"' not in encode(about)


async def test_one_platform_is_shown_in_words_or_as_json(engine: Engine) -> None:
    multi(engine, WASM, HOST)
    for text in ("wasm", '{"os":"wasi","architecture":"wasm"}'):
        shown = engine.images.inspect("multi", text)
        assert shown.os == "wasi"
        assert shown.descriptor.digest == engine.images.resolve("multi", text).digest
    assert engine.images.inspect("multi", str(HOST)).architecture == HOST.architecture
    assert len(engine.images.history("multi", "wasm")) == 1
    with pytest.raises(NotFound, match="not for linux/s390x"):
        engine.images.inspect("multi", '{"os":"linux","architecture":"s390x"}')
    multi(engine, WASM, HOST, absent=(FAR,))
    with pytest.raises(NotFound, match=f"for linux/s390x, only for wasi/wasm, {HOST}: pull it"):
        engine.images.inspect("multi", "linux/s390x")
    with pytest.raises(NotFound, match="for linux/s390x, only for"):
        async for _ in engine.images.save(["multi"], "linux/s390x"):
            raise AssertionError("nothing is saved")
    for wrong in ('{"os":5}', "{", "a/b/c/d", "{}"):
        with pytest.raises(InvalidRequest, match="platform"):
            engine.images.inspect("multi", wrong)


async def test_what_is_for_webassembly_is_looked_into(engine: Engine) -> None:
    multi(engine, HOST, WASM)
    wasm, host = (engine.images.resolve("multi", str(one)).id for one in (WASM, HOST))
    for platform, found in ((None, wasm), (str(HOST), host)):
        assert json.loads(await engine.contents.wasm("multi", platform))["Image"] == found
    assert json.loads(await engine.contents.wasm(host))["Image"] == host


async def test_what_is_run_of_it_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    multi(engine, WASM, HOST)
    monkeypatch.setattr(linux_runtime, "find", lambda: None)
    plain = await make(engine, image="multi")
    assert plain.record.platform == "wasi/wasm"
    assert "wasi/wasm is taken of 2 platforms" in plain.record.choice
    assert (await engine.containers.inspect(plain)).platform_choice == plain.record.choice
    monkeypatch.setattr(linux_runtime, "find", lambda: "/bin/true")
    native = await make(engine, image="multi")
    assert native.record.platform == str(HOST)
    assert "it is this machine's" in native.record.choice
    of_it = Filters({"ancestor": ["multi"]})
    listed = await engine.containers.list(all=True, filters=of_it)
    assert [each.image for each in listed] == ["multi", "multi"]


async def test_what_is_to_run_and_is_not_there_is_to_be_pulled(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    multi(engine, WASM, absent=(HOST, FAR))
    monkeypatch.setattr(linux_runtime, "find", lambda: "/bin/true")
    with pytest.raises(NotFound, match=f"no such image: multi for {HOST}, only for wasi/wasm"):
        await make(engine, image="multi")


async def test_removing_its_name_removes_all_of_it(engine: Engine) -> None:
    before = set(engine.store.blobs.digests())
    multi(engine, WASM, HOST)
    image = engine.images.resolve("multi")
    await engine.images.tag("multi", "again", "")
    assert engine.images.resolve("again").target == image.target
    assert [one.untagged for one in await engine.images.remove("multi")] == ["multi:latest"]
    removed = await engine.images.remove("again")
    assert len([one for one in removed if one.deleted]) >= 2
    assert set(engine.store.blobs.digests()) == before
