"""Images on the move: pulled, pushed, unpacked and listed, beside skopeo, Docker and umoci."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.figures import Row
from bench.stage import Missing, Stage
from bench.timing import Attempt, in_turns, whole
from tests import peers
from tests.registries import RealRegistry, registry

from wherry.images import ImageStore, Layer, LayerWriter
from wherry.images.beneath import Root
from wherry.images.tar import Kind
from wherry.images.walk import open_file, walk
from wherry.oci import (
    HOST,
    WASM,
    Descriptor,
    Digest,
    ImageConfig,
    MediaType,
    Platform,
    RootFS,
    RuntimeConfig,
    parse_reference,
)

_RUNS = 3
_LAYERS, _LAYER = 20, 10 << 20
_SMALL = 100 << 10
_LISTED = 1000
_PATIENCE, _PAUSE = 30.0, 0.1
"""Seconds to wait for an image to be gone."""
_TREES = ("lib/python3.11", "share/perl", "share/zoneinfo")
"""Of /usr: what is unpacked, a layer each. Many small files, as in every distribution."""


def transfer(stage: Stage) -> list[Row]:
    """Pull and push, of 200 MB in many layers and of a small Wasm image."""
    skopeo = _program("skopeo")
    try:
        real = stage.enter(registry())
    except pytest.skip.Exception as error:
        raise Missing(str(error)) from None
    folder = stage.wherry.folder / "transfer"
    store = ImageStore(folder / "made")
    big = f"{_LAYERS * _LAYER >> 20} MB, {_LAYERS} layers"
    _image(store, "big", WASM, [os.urandom(_LAYER) for _ in range(_LAYERS)])
    _image(store, "linux", HOST, [os.urandom(_LAYER) for _ in range(_LAYERS)])
    _image(store, "small", WASM, [b"\0asm\1\0\0\0" + os.urandom(_SMALL)])
    rows = []
    for name, title, runs in (("big", big, _RUNS), ("small", "100 KB, Wasm", 3 * _RUNS)):
        moving = _Moving(stage, real, store, name)
        copy = (skopeo, "--insecure-policy", "copy", "--src-tls-verify=false")
        target = folder / "copy"
        theirs = whole([*copy, f"docker://{moving.remote}", f"oci:{target}:1"])
        pulls = in_turns(runs, moving.pull(), _after(lambda: _clear(target), theirs))  # noqa: B023
        rows.append(Row(f"pull, {title}", pulls[0], "skopeo copy to a layout", pulls[1], budget=1))
        copy = (skopeo, "--insecure-policy", "copy", "--dest-tls-verify=false")
        theirs = whole(
            [*copy, f"oci:{folder}/made/images:{name}:latest", f"docker://{moving.remote}"]
        )
        pushes = in_turns(runs, moving.push(), _after(moving.forget, theirs))
        rows.append(Row(f"push, {title}", pushes[0], "skopeo copy", pushes[1], budget=1))
    return rows + _against_docker(stage, _Moving(stage, real, store, "linux"), big)


def _against_docker(stage: Stage, moving: _Moving, title: str) -> list[Row]:
    """Both unpack what they pull, since it is for Linux."""
    try:
        docker = stage.dockerd
    except Missing as error:
        return [Row(f"pull and push, {title}, Linux", missing=str(error))]
    moving.push()()

    def gone() -> None:
        docker.docker("rmi", "-f", moving.remote)

    pull, push = (whole(docker.argv(word, "-q", moving.remote)) for word in ("pull", "push"))
    pulls = in_turns(_RUNS, moving.pull(), _after(gone, pull))
    pushes = in_turns(_RUNS, moving.push(), _after(moving.forget, push))
    return [
        Row(f"pull, {title}, Linux, unpacked", pulls[0], "docker pull", pulls[1], budget=1),
        Row(f"push, {title}, Linux", pushes[0], "docker push", pushes[1], budget=1),
    ]


class _Moving:
    """One image between wherry and the registry; what a run leaves is removed before the next."""

    def __init__(self, stage: Stage, real: RealRegistry, store: ImageStore, name: str) -> None:
        self._wherry = stage.wherry
        self._real = real
        blobs = self._wherry.root / "images" / "blobs"
        layers = store.resolve(name).manifest.layers
        self._files = [blobs / layer.digest.replace(":", "/") for layer in layers]
        self.remote = f"{real.name}/bench/{name}:1"
        archive = stage.wherry.folder / f"{name}.tar"
        with open(archive, "wb") as file:
            store.save([name], file)
        stage.wherry.ok("load", "-i", archive)
        archive.unlink()
        stage.wherry.ok("tag", name, self.remote)
        stage.wherry.ok("rmi", name)
        stage.wherry.ok("push", "-q", self.remote)

    def pull(self) -> Attempt:
        attempt = whole(self._wherry.argv("pull", "-q", self.remote), self._wherry.environment)

        def pulled() -> float:
            taken = attempt()
            self._remove()
            return taken

        self._remove()
        return _after(lambda: None, pulled)

    def push(self) -> Attempt:
        self._wherry.ok("pull", "-q", self.remote, timeout=_PATIENCE)
        argv = self._wherry.argv("push", "-q", self.remote)
        return _after(self.forget, whole(argv, self._wherry.environment))

    def _remove(self) -> None:
        """Take the image away whole, so that the next pull brings it and its peer is undisturbed.

        An engine that still unpacks or compiles it in the background keeps it meanwhile.
        """
        self._wherry("rmi", self.remote)
        until = time.monotonic() + _PATIENCE
        while any(file.exists() for file in self._files):
            assert time.monotonic() < until, f"{self.remote} cannot be removed"
            time.sleep(_PAUSE)
            self._wherry("image", "prune", "-f")

    def forget(self) -> None:
        """Have the registry forget all it has."""
        _clear(self._real.storage / "docker")


def unpack(stage: Stage) -> list[Row]:
    """Unpack the layers of an image, checked; umoci makes one tree of them and checks nothing."""
    umoci = _program("umoci")
    root = stage.wherry.folder / "unpack"
    store = ImageStore(root)
    with store.hold():
        layers = [_layer_of_tree(store, Path("/usr"), tree) for tree in _TREES]
        _write(store, "tree", HOST, [layer for layer in layers if layer is not None])
    code = (
        "import sys; from pathlib import Path; from wherry.images import ImageStore; "
        "s = ImageStore(Path(sys.argv[1])); s.lowerdirs(s.resolve('tree'))"
    )
    mine = whole([sys.executable, "-c", code, str(root)])
    target = root / "umoci"
    words = ("raw", "unpack", "--image", f"{root}/images:tree:latest", str(target))
    ours, theirs = in_turns(
        _RUNS,
        _after(lambda: _clear(root / "layers"), mine),
        _after(lambda: _clear(target), whole([umoci, *words])),
    )
    size = f"{store.usage().layers >> 20} MB, {len(_TREES)} layers"
    return [Row(f"unpack, {size}", ours, "umoci raw unpack", theirs, budget=1)]


def listing(stage: Stage) -> list[Row]:
    """A list of 1,000 images, by engines that have been asked before."""
    archive = stage.wherry.folder / "thousand.tar"
    archive.write_bytes(_thousand())
    docker = stage.dockerd
    stage.wherry.ok("load", "-i", archive, timeout=300)
    loaded = docker.docker("load", "-q", "-i", str(archive))
    assert loaded.returncode == 0, loaded.stderr
    ours, theirs = in_turns(
        stage.runs,
        whole(stage.wherry.argv("images"), stage.wherry.environment),
        whole(docker.argv("images")),
    )
    return [Row(f"list of {_LISTED} images", ours, "docker images", theirs, budget=0.5)]


def _image(store: ImageStore, name: str, platform: Platform, contents: list[bytes]) -> None:
    with store.hold():
        layers = [_layer(store, f"file{n}.wasm", data) for n, data in enumerate(contents)]
        _write(store, name, platform, layers)


def _layer(store: ImageStore, name: str, content: bytes) -> Layer:
    """A gzip layer of one file, not compressed: that would take longer than all else here."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o755
        tar.addfile(info, io.BytesIO(content))
    descriptor = store.blobs.write(MediaType.LAYER_GZIP, gzip.compress(out.getvalue(), 0, mtime=0))
    return Layer(descriptor, Digest(f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}"))


def _layer_of_tree(store: ImageStore, top: Path, tree: str) -> Layer | None:
    if not (top / tree).is_dir():
        return None
    with LayerWriter(store.blobs) as writer, Root(top) as root:
        for entry in walk(root, tree):
            if entry.kind is Kind.FILE:
                with open_file(root, entry.name) as file:
                    writer.add_entry(entry, file)
            elif entry.kind in (Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK):
                writer.add_entry(entry)
        return writer.commit()


def _write(store: ImageStore, name: str, platform: Platform, layers: list[Layer]) -> None:
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        rootfs=RootFS(diff_ids=[layer.diff_id for layer in layers]),
        config=RuntimeConfig(),  # No entrypoint: nothing is compiled in the background.
    )
    descriptors: list[Descriptor] = [layer.descriptor for layer in layers]
    store.write_image(config, descriptors, reference=parse_reference(name))


def _thousand() -> bytes:
    """An archive as `docker save` writes it: images that share a layer and differ in a label."""
    out, layer = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    diff_id = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    manifest = []
    with tarfile.open(fileobj=out, mode="w") as tar:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        add("layer.tar", layer.getvalue())
        for number in range(_LISTED):
            config = {
                "architecture": HOST.architecture, "os": "linux",
                "created": f"2024-01-01T{number // 60 % 24:02}:{number % 60:02}:00Z",
                "config": {"Labels": {"number": str(number)}},
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            }  # fmt: skip
            add(f"{number}.json", json.dumps(config).encode())
            manifest.append(
                {"Config": f"{number}.json", "RepoTags": [f"image-{number}:1"],
                 "Layers": ["layer.tar"]}
            )  # fmt: skip
        add("manifest.json", json.dumps(manifest).encode())
    return out.getvalue()


def _after(prepare: Callable[[], object], attempt: Attempt) -> Attempt:
    """The attempt with something before it that does not count."""

    def prepared() -> float:
        prepare()
        os.sync()  # what others have yet to write is not for this one to wait for
        return attempt()

    return prepared


def _clear(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _program(name: str) -> str:
    try:
        return peers.program(name)
    except peers.PeerMissing as error:
        raise Missing(str(error)) from None
