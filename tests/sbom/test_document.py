"""The bill of materials as a document: valid, and always the same."""

import json
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.guests.toolchain import Guests
from tests.wasm.test_anatomy import AUDITABLE, METADATA, custom, program

from wherry import sbom, wasm
from wherry.sbom import Layer, Module, Package, Subject

DIGEST = "sha256:" + "ab" * 32
IMAGE = Subject(
    name="registry.example.org/team/web",
    version="1.2",
    digest=DIGEST,
    is_image=True,
    created="2024-05-06T07:08:09Z",
    platform="wasi/wasm",
    author="Ann",
)
LAYERS = [Layer("sha256:" + "cd" * 32, "application/vnd.oci.image.layer.v1.tar+gzip", 1234)]
MUSL = Package(
    kind="apk",
    namespace="alpine",
    name="musl",
    version="1.2.5-r9",
    place="lib/apk/db/installed",
    licenses=("MIT",),
    qualifiers=(("arch", "x86_64"), ("distro", "alpine-3.21")),
    homepage="https://musl.libc.org/",
    supplier="Natanael Copa",
    sha1="00" * 20,
    files=2,
)


def bill(modules: list[Module] | None = None, packages: tuple[Package, ...] = ()) -> Any:
    document = sbom.write(IMAGE, modules or [], packages, LAYERS)
    return checked(document)


def checked(document: bytes) -> Any:
    """The document, which CycloneDX's own schema finds valid."""
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode())
    assert wrong is None, str(wrong)[:500]
    told = json.loads(document)
    references = [each["bom-ref"] for each in flat(told["components"])]
    assert len(references) == len(set(references))
    return told


def flat(components: list[Any]) -> list[Any]:
    return [each for part in components for each in (part, *flat(part.get("components", [])))]


def by_name(told: Any) -> dict[str, Any]:
    return {each["name"]: each for each in flat(told["components"])}


def test_an_image_is_told_with_its_layers() -> None:
    told = bill()
    image = told["metadata"]["component"]
    assert (image["type"], image["name"], image["version"]) == ("container", IMAGE.name, "1.2")
    assert unquote(image["purl"]).startswith(f"pkg:oci/web@{DIGEST}?")
    assert f"repository_url={IMAGE.name}" in unquote(image["purl"])
    assert image["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert told["metadata"]["timestamp"].startswith("2024-05-06T07:08:09")
    [layer] = told["components"]
    assert layer["hashes"] == [{"alg": "SHA-256", "content": "cd" * 32}]


def test_a_module_is_told_with_its_tools_its_licence_and_where_it_lies() -> None:
    sections = b"".join(custom(key, text.encode()) for key, text in METADATA.items())
    content = program(more='(data "/rustc-1.85.1/library")') + sections
    anatomy = wasm.dissect(content)
    told = bill([Module("/app/web.wasm", anatomy, LAYERS[0].digest, is_program=True)])
    module = by_name(told)["web.wasm"]
    assert module["type"] == "application"
    assert module["version"] == "1.2.3"
    assert module["licenses"] == [{"expression": "Apache-2.0 OR MIT"}]
    assert module["hashes"][0]["content"] == anatomy.digest.removeprefix("sha256:")
    assert module["evidence"]["occurrences"] == [{"location": "/app/web.wasm"}]
    properties = {(each["name"], each["value"]) for each in module["properties"]}
    assert ("wherry:wasm:language", "Rust") in properties
    assert ("wherry:wasm:made-by", "rustc 1.85.1") in properties
    assert ("wherry:layer", LAYERS[0].digest) in properties
    assert {each["url"] for each in module["externalReferences"]} == {
        METADATA["source"],
        METADATA["homepage"],
    }


def test_packages_of_a_module_are_told_with_who_needs_whom() -> None:
    content = program() + custom(".dep-v0", zlib.compress(json.dumps(AUDITABLE).encode()))
    told = bill([Module("/app.wasm", wasm.dissect(content))])
    serde = by_name(told)["serde"]
    assert serde["purl"] == "pkg:cargo/serde@1.0.1"
    needs = {each["ref"]: each.get("dependsOn", []) for each in told["dependencies"]}
    assert needs["wasm:/app.wasm"] == [serde["bom-ref"]]
    [build] = needs[serde["bom-ref"]]
    assert by_name(told)["cc"]["bom-ref"] == build
    assert by_name(told)["cc"]["scope"] == "excluded"
    assert "app" not in by_name(told)


def test_packages_of_the_system_are_told() -> None:
    musl = by_name(bill(packages=(MUSL,)))["musl"]
    assert musl["purl"] == "pkg:apk/alpine/musl@1.2.5-r9?arch=x86_64&distro=alpine-3.21"
    assert musl["licenses"] == [{"license": {"id": "MIT"}}]
    assert musl["evidence"]["occurrences"] == [{"location": "/lib/apk/db/installed"}]


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        (("MIT",), [{"license": {"id": "MIT"}}]),
        (("GPL-2.0-or-later OR MIT",), [{"expression": "GPL-2.0-or-later OR MIT"}]),
        (("My own",), [{"license": {"name": "My own"}}]),
        (
            ("MIT", "BSD License"),
            [{"license": {"id": "MIT"}}, {"license": {"name": "BSD License"}}],
        ),
        (("", "\0"), None),
    ],
)
def test_licences_are_spdx_where_they_can_be(licenses: tuple[str, ...], expected: object) -> None:
    told = bill(packages=(MUSL._replace(licenses=licenses),))
    assert by_name(told)["musl"].get("licenses") == expected


def test_the_same_package_in_two_places_is_told_twice() -> None:
    told = bill(packages=(MUSL, MUSL, MUSL._replace(place="usr/lib/apk/db/installed")))
    assert len([each for each in told["components"] if each["name"] == "musl"]) == 3


def test_the_same_content_always_gives_the_same_document() -> None:
    modules = [Module("/app.wasm", wasm.dissect(program()))]
    written = {sbom.write(IMAGE, modules, [MUSL], LAYERS) for _ in range(3)}
    assert len(written) == 1
    other = json.loads(sbom.write(IMAGE._replace(digest="sha256:" + "ef" * 32), [], [], []))
    assert other["serialNumber"] != json.loads(written.pop())["serialNumber"]


@pytest.mark.parametrize("created", ["", "yesterday", "2024-05-06"])
def test_an_image_that_does_not_say_when_it_was_made_has_a_bill(created: str) -> None:
    checked(sbom.write(IMAGE._replace(created=created), [], [], LAYERS))


def test_xml_says_the_same() -> None:
    modules = [Module("/app.wasm", wasm.dissect(program()))]
    root = ElementTree.fromstring(sbom.write(IMAGE, modules, [MUSL], LAYERS, "cyclonedx-xml"))
    assert root.tag == "{http://cyclonedx.org/schema/bom/1.6}bom"
    names = [each.text for each in root.iterfind("{*}components/{*}component/{*}name")]
    assert sorted(filter(None, names)) == ["app.wasm", "layer 1", "musl"]


@pytest.mark.guests
def test_a_component_is_told_with_what_is_nested_in_it(guests: Guests, tmp_path: Path) -> None:
    with open(guests.component() / "app.wasm", "rb") as file:
        anatomy = wasm.dissect(file)
    subject = Subject("app.wasm", anatomy.digest, is_image=False)
    told = checked(sbom.write(subject, [Module("app.wasm", anatomy)]))
    names = by_name(told)
    assert names["CPython"]["type"] == "platform"
    assert names["CPython"]["version"].startswith("3.")
    assert {"libc.so", "libpython3.14.so"} <= names.keys()


TEXT = st.text(max_size=30)


@given(name=TEXT, version=TEXT, licenses=st.lists(TEXT, max_size=3), homepage=TEXT)
@example(name="", version="", licenses=[], homepage="%")
@example(name="", version="", licenses=[], homepage="a#b#c")
@example(name="", version="", licenses=[], homepage="[a]:b")
@settings(max_examples=60, deadline=None)
def test_whatever_packages_say_the_bill_is_valid(
    name: str, version: str, licenses: list[str], homepage: str
) -> None:
    package = MUSL._replace(
        name=f"n{name}",
        version=f"1{version}",
        licenses=tuple(licenses),
        homepage=f"https://{homepage}",
        description=name,
        supplier=version,
        qualifiers=(("arch", f"a{name}"),),
    )
    bill(packages=(package,))
    ElementTree.fromstring(sbom.write(IMAGE, [], [package], LAYERS, "cyclonedx-xml"))
