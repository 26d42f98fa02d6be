"""Wasm OCI artifacts between the real oras, a real registry and wherry."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import EXAMPLES, Guests
from tests.image_tools import Tool, tool
from tests.oci_schemas import validate
from tests.registries import RealRegistry, registry

CONFIG = "application/vnd.wasm.config.v0+json"
SHIPPED = "hello from a module"

PROGRAM = f"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\14\\00\\00\\00")
  (data (i32.const 16) "{SHIPPED}\\0a")
  (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1)
    (i32.const 8)))))"""


@pytest.fixture(scope="module")
def real() -> Iterator[RealRegistry]:
    with registry() as started:
        yield started


@pytest.fixture(scope="module")
def oras() -> Tool:
    return tool("oras")


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module in a folder of its own, with what people push beside it."""
    from wasmtime import wat2wasm

    folder = tmp_path_factory.mktemp("artifact")
    path = folder / "app.wasm"
    path.write_bytes(wat2wasm(PROGRAM))
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    said = {
        "created": "2024-05-06T07:08:09Z",
        "author": None,
        "architecture": "wasm",
        "os": "wasip1",
        "layerDigests": [digest],
        "component": None,
    }
    (folder / "config.json").write_text(json.dumps(said))
    (folder / "empty.json").write_text("{}")
    (folder / "notes.txt").write_text("beside it\n")
    (folder / "assets").mkdir()
    (folder / "assets" / "logo.svg").write_text("<svg/>")
    return path


FORMS = {
    "nothing-but-the-file": ["app.wasm"],
    "media-type": ["app.wasm:application/wasm"],
    "artifact-type": [
        *("--artifact-type", "application/vnd.wasm.component.v1+wasm"),
        "app.wasm:application/wasm",
    ],
    "cncf": ["--config", f"config.json:{CONFIG}", "app.wasm:application/wasm"],
    "image-spec-1.0": ["--image-spec", "v1.0", "app.wasm:application/wasm"],
    "wasm-to-oci": [
        *("--config", "empty.json:application/vnd.wasm.config.v1+json"),
        "app.wasm:application/vnd.wasm.content.layer.v1+wasm",
    ],
    "wasm-image-spec": [
        *("--config", "empty.json:application/vnd.module.wasm.config.v1+json"),
        "app.wasm:application/vnd.module.wasm.content.layer.v1+wasm",
    ],
    "bytecode-alliance": ["app.wasm:application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"],
    "spin": [
        *("--config", "empty.json:application/vnd.fermyon.spin.application.v1+config"),
        "app.wasm:application/vnd.wasm.content.layer.v1+wasm",
        "notes.txt:application/vnd.wasm.content.layer.v1+data",
    ],
    "files-beside-it": ["notes.txt:text/plain", "app.wasm:application/wasm", "assets/"],
}
"""What people type behind `oras push NAME`, by what it is known as."""


@pytest.mark.parametrize("form", FORMS)
def test_what_oras_pushes_runs(
    form: str, wherry: Wherry, real: RealRegistry, oras: Tool, module: Path
) -> None:
    name = f"{real.name}/pushed/{form}:1"
    done = oras.run("push", "--plain-http", name, *FORMS[form], cwd=module.parent)
    assert done.returncode == 0, done.stderr
    assert wherry.ok("run", "--rm", name) == SHIPPED
    told = json.loads(wherry.ok("inspect", name))[0]
    assert told["Config"]["Entrypoint"] == ["/app.wasm"]
    pushed = oras.output("resolve", "--plain-http", name).strip()
    assert told["RepoDigests"] == [f"{name.rpartition(':')[0]}@{pushed}"]


def test_files_beside_a_module_are_files_of_its_containers(
    wherry: Wherry, real: RealRegistry, oras: Tool, module: Path, tmp_path: Path
) -> None:
    name = f"{real.name}/pushed/all:1"
    oras.run("push", "--plain-http", name, *FORMS["files-beside-it"], cwd=module.parent)
    wherry.ok("create", "--name", "all", name)
    wherry.ok("cp", "all:/notes.txt", tmp_path)
    wherry.ok("cp", "all:/assets/logo.svg", tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "beside it\n"
    assert (tmp_path / "logo.svg").read_text() == "<svg/>"


@pytest.mark.parametrize("version", ["0.5", "0.16"])
def test_what_wkg_publishes_runs(
    wherry: Wherry, real: RealRegistry, oras: Tool, module: Path, version: str
) -> None:
    """As wkg 0.16.1 was seen to write it, and those before that gave the layer no title."""
    name = f"{real.name}/pushed/wkg-{version}"
    config = module.parent / "wkg.json"
    said = json.loads((module.parent / "config.json").read_text())
    if version == "0.16":  # which takes every module for a component
        said |= {"created": "2024-05-06T07:08:09.437160066Z", "os": "wasip2"}
        said["component"] = {"exports": [], "imports": [], "target": None}
    config.write_text(json.dumps(said))
    parts: dict[str, dict[str, object]] = {}
    for path, kind in ((config, CONFIG), (module, "application/wasm")):
        digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        oras.output("blob", "push", "--plain-http", f"{name}@{digest}", path)
        parts[kind] = {"mediaType": kind, "digest": digest, "size": path.stat().st_size}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {**parts[CONFIG], "annotations": {}} if version == "0.5" else parts[CONFIG],
        "layers": [parts["application/wasm"]],
        "annotations": {"org.opencontainers.image.version": "1.0.0"},
    }
    if version == "0.16":
        parts["application/wasm"]["annotations"] = {"org.opencontainers.image.title": "app.wasm"}
    document = module.parent / "manifest.json"
    document.write_text(json.dumps(manifest))
    oras.output("manifest", "push", "--plain-http", f"{name}:1.0.0", document)
    assert wherry.ok("run", "--rm", f"{name}:1.0.0") == SHIPPED
    told = json.loads(wherry.ok("inspect", f"{name}:1.0.0"))[0]
    assert told["Created"] == said["created"]
    assert (told["Os"], told["Architecture"]) == (
        "wasip1" if version == "0.5" else "wasip2",
        "wasm",
    )


def made(oras: Tool, name: str, folder: Path) -> tuple[dict[str, object], Path]:
    """The config of an artifact in the registry, which is as the specification says; its file."""
    manifest = json.loads(oras.output("manifest", "fetch", "--plain-http", name))
    validate("image-manifest", manifest)
    [layer] = manifest["layers"]
    assert manifest["config"]["mediaType"] == CONFIG
    assert layer["mediaType"] == "application/wasm"
    place = name.rpartition(":")[0]
    config = json.loads(
        oras.output(
            *("blob", "fetch", "--plain-http", "--output", "-"),
            f"{place}@{manifest['config']['digest']}",
        )
    )
    assert config["architecture"] == "wasm"
    assert config["layerDigests"] == [layer["digest"]]
    assert config["created"].endswith("Z")
    assert (config["os"] == "wasip2") == ("component" in config)
    oras.output("pull", "--plain-http", "--output", folder, name)
    [pulled] = folder.iterdir()
    assert f"sha256:{hashlib.sha256(pulled.read_bytes()).hexdigest()}" == layer["digest"]
    return config, pulled


def test_an_image_becomes_an_artifact_that_oras_pulls(
    wherry: Wherry, real: RealRegistry, oras: Tool, module: Path, tmp_path: Path
) -> None:
    wherry.image("program", module)
    name = f"{real.name}/made/program:1"
    wherry.ok("push", "--artifact", "program", name)
    config, pulled = made(oras, name, tmp_path)
    assert config["os"] == "wasip1"
    assert (pulled.name, pulled.read_bytes()) == ("module.wasm", module.read_bytes())
    assert wherry.ok("run", "--rm", name) == SHIPPED
    wherry.ok("tag", name, f"{real.name}/made/again:1")
    wherry.ok("push", "--artifact", f"{real.name}/made/again:1")
    digests = {
        oras.output("resolve", "--plain-http", f"{real.name}/made/{each}:1")
        for each in ("program", "again")
    }
    assert len(digests) == 1
    assert "/made/program" not in wherry.ok("inspect", "program")


def test_a_component_in_a_file_becomes_an_artifact_that_tells_its_world(
    wherry: Wherry, real: RealRegistry, oras: Tool, guests: Guests, tmp_path: Path
) -> None:
    name = f"{real.name}/made/component:1"
    wherry.ok("push", "-q", "--artifact", guests.http(), name)
    config, pulled = made(oras, name, tmp_path)
    assert config["os"] == "wasip2"
    component = config["component"]
    assert isinstance(component, dict)
    assert component["exports"] == ["wasi:http/incoming-handler@0.2.0"]
    assert component["target"] == "wasi:http/proxy@0.2.0"
    assert "wasi:http/types@0.2.0" in component["imports"]
    assert pulled.read_bytes() == guests.http().read_bytes()


def test_text_becomes_a_binary_artifact(
    wherry: Wherry, real: RealRegistry, oras: Tool, tmp_path: Path
) -> None:
    text = tmp_path / "tool.wat"
    text.write_text(PROGRAM)
    wherry.ok("push", "--artifact", text, f"{real.name}/made/text:1")
    (tmp_path / "out").mkdir()
    _, pulled = made(oras, f"{real.name}/made/text:1", tmp_path / "out")
    assert pulled.name == "tool.wasm"
    assert pulled.read_bytes().startswith(b"\0asm")


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ('CMD ["/app.wasm", "--serve"]', "the arguments --serve"),
        ('ENV MODE=x\nCMD ["/app.wasm"]', "the variable MODE"),
        ('COPY notes.txt /etc/notes\nCMD ["/app.wasm"]', "/etc/notes"),
        ('CMD ["/notes.txt"]', "the image runs none"),
    ],
)
def test_nothing_of_an_image_is_lost_in_silence(
    wherry: Wherry, real: RealRegistry, module: Path, line: str, lost: str
) -> None:
    dockerfile = module.parent / "Dockerfile"
    dockerfile.write_text(f"FROM scratch\nCOPY app.wasm /\n{line}\n")
    wherry.ok("build", "-q", "-t", "more", module.parent)
    said = wherry.refused("push", "--artifact", "more", f"{real.name}/made/more", code=1)
    assert lost in said
    assert len(said.strip().splitlines()) == 1


def test_a_build_makes_an_artifact_in_the_images_place_or_in_a_file(
    wherry: Wherry, module: Path, tmp_path: Path
) -> None:
    dockerfile = module.parent / "Dockerfile"
    dockerfile.write_text('FROM scratch\nCOPY app.wasm /\nENTRYPOINT ["/app.wasm"]\n')
    folder = module.parent
    identity = wherry.ok("build", "-q", "-t", "art", "-o", "type=wasm-artifact", folder).strip()
    told = json.loads(wherry.ok("inspect", "art"))[0]
    assert told["Id"] == identity
    assert told["Os"] == "wasip1"
    assert wherry.ok("run", "--rm", "art") == SHIPPED
    archive = tmp_path / "art.tar"
    wherry.ok("build", "-q", "-t", "art2", "-o", f"type=wasm-artifact,dest={archive}", folder)
    with tarfile.open(archive) as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        validate("image-index", index)
        assert "manifest.json" not in tar.getnames()
    [described] = index["manifests"]
    assert told["RepoDigests"] == [f"art@{described['digest']}"]
    wherry.ok("load", "-i", archive)
    assert json.loads(wherry.ok("inspect", "art2"))[0]["Id"] == identity


def test_a_file_needs_a_name_and_an_image_one_name(wherry: Wherry, module: Path) -> None:
    assert "under which name" in wherry.refused("push", "--artifact", module, code=1)
    assert "--artifact" in wherry.refused("push", module, "somewhere:1", code=1)


def test_the_example_is_an_artifact_too(
    wherry: Wherry, real: RealRegistry, oras: Tool, tmp_path: Path
) -> None:
    wherry.ok("build", "-q", "-t", "hello", EXAMPLES / "hello")
    name = f"{real.name}/made/hello:1"
    wherry.ok("push", "--artifact", "hello", name)
    made(oras, name, tmp_path)
