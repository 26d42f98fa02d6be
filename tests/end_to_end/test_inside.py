"""A look inside files and images, and what they are made of, as a person asks for it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests

STATUS = "Package: libc6\nStatus: install ok installed\nVersion: 2.41\nArchitecture: amd64\n"
METADATA = "Name: jinja2\nVersion: 3.1.4\nLicense: BSD-3-Clause\n\n"


@pytest.fixture(scope="module")
def layered(wherry: Wherry, guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of several layers, an upper one of which replaces a file of a lower one."""
    folder = tmp_path_factory.mktemp("layered")
    tree = folder / "tree"
    (tree / "usr/lib/python3/site-packages/jinja2-3.1.4.dist-info").mkdir(parents=True)
    (tree / "usr/lib/python3/site-packages/jinja2-3.1.4.dist-info/METADATA").write_text(METADATA)
    (tree / "var/lib/dpkg").mkdir(parents=True)
    (tree / "var/lib/dpkg/status").write_text(STATUS.replace("2.41", "2.36"))
    (folder / "status").write_text(STATUS)
    (folder / "app.wasm").write_bytes(guests.toolbox().read_bytes())
    (folder / "broken.wasm").write_bytes(b"\0asm\1\0\0\0\xff")
    (folder / "tool.wasm").write_bytes(guests.wasm("exit").read_bytes())
    (folder / "Dockerfile").write_text(
        "FROM scratch\nCOPY tree /\nCOPY app.wasm /app/app.wasm\n"
        "COPY tool.wasm broken.wasm /app/\nCOPY status /var/lib/dpkg/status\n"
        'WORKDIR /app\nENTRYPOINT ["app.wasm"]\n'
    )
    wherry.ok("build", "-q", "-t", "layered", folder)
    return "layered"


def told(wherry: Wherry, *words: str | Path) -> list[Any]:
    documents: list[Any] = json.loads(wherry.ok("inspect", "--wasm", "-f", "json", *words))
    return documents


def test_an_image_and_its_file_are_told_alike(wherry: Wherry, layered: str, guests: Guests) -> None:
    image, file = told(wherry, layered, guests.toolbox())
    assert image.pop("Path") == "/app/app.wasm"
    assert image.pop("Others") == ["/app/broken.wasm", "/app/tool.wasm"]
    assert image.pop("Image") == json.loads(wherry.ok("inspect", layered))[0]["Id"]
    assert file.pop("Path") == str(guests.toolbox())
    assert (file.pop("Others"), file.pop("Image")) == ([], "")
    assert image == file
    assert image["Verdict"] == {"Can": True, "Engine": "embedded", "Reason": ""}


def test_the_text_is_for_people(wherry: Wherry, layered: str) -> None:
    text = wherry.ok("inspect", "--wasm", layered)
    for line in (
        "/app/app.wasm",
        "  Made for    WASI 0.1",
        "  Program     a command, which is run once (_start)",
        "  Runs here   yes, by the embedded engine",
    ):
        assert line in text.splitlines()
    assert "files                      " in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_template_and_several_at_once(wherry: Wherry, layered: str, guests: Guests) -> None:
    lines = wherry.ok(
        *("image", "inspect", "--wasm", "-f", "{{.Kind}} {{.Entry}} {{len .Imports}}"),
        *(layered, guests.http(), guests.wat("trap")),
    )
    assert lines.splitlines() == ["module command 7", "component http 5", "module command 0"]


def test_files_need_no_engine(guests: Guests, tmp_path: Path) -> None:
    with Wherry() as alone:
        alone.ok("inspect", "--wasm", guests.toolbox())
        alone.ok("sbom", "-o", tmp_path / "bill", guests.toolbox())
        assert not alone.socket_path.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x7fELF", "it begins with 7f 45 4c 46"),
        (b"", "the file is empty"),
        (b"(module (func", "not valid text"),
        (b"\0asm\1\0\0\0\1\5", "section 1 at byte 10 should have 5 bytes"),
    ],
)
def test_what_is_no_module_is_told_in_one_line(
    wherry: Wherry, tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "x.wasm"
    path.write_bytes(content)
    for command in (("inspect", "--wasm"), ("sbom",)):
        said = wherry.refused(*command, path, code=126)
        assert says in said
        assert len(said.strip().splitlines()) == 1


def test_names_out_of_a_file_command_no_terminal(wherry: Wherry, tmp_path: Path) -> None:
    path = tmp_path / "x.wat"
    path.write_text('(module (import "\\1b[2J" "\\0d\\0a" (func)) (func (export "\\1b]0;x\\07")))')
    text = wherry.ok("inspect", "--wasm", path)
    assert not set(text) & {"\x1b", "\r", "\x07"}
    assert "?[2J" in text


def test_what_is_not_there_is_told_and_the_rest_is_shown(wherry: Wherry, guests: Guests) -> None:
    done = wherry("inspect", "--wasm", "-f", "{{.Kind}}", "nothing", guests.toolbox())
    assert done.code == 1
    assert "nothing" in done.err
    assert done.out.strip() == "module"


def test_an_image_without_webassembly_is_told(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY Dockerfile /\nCMD ["/Dockerfile"]\n')
    wherry.ok("build", "-q", "-t", "plain", tmp_path)
    assert "no WebAssembly" in wherry.refused("inspect", "--wasm", "plain", code=1)


def test_the_bill_of_an_image_has_what_its_containers_see(
    wherry: Wherry, layered: str, tmp_path: Path
) -> None:
    bill = wherry.ok("sbom", layered)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    found = {each["name"]: each for each in json.loads(bill)["components"]}
    assert found["jinja2"]["purl"] == "pkg:pypi/jinja2@3.1.4"
    assert found["libc6"]["version"] == "2.41"  # not what a lower layer has
    assert {"app.wasm", "tool.wasm"} < found.keys()
    assert "broken.wasm" not in found
    layers = [name for name in found if name.startswith("layer ")]
    digests = {found[name]["hashes"][0]["content"] for name in layers}
    [layer] = (
        each["value"] for each in found["app.wasm"]["properties"] if each["name"] == "wherry:layer"
    )
    assert layer.removeprefix("sha256:") in digests
    wherry.ok("sbom", "-o", tmp_path / "bill.json", layered)
    assert (tmp_path / "bill.json").read_text().strip() == bill.strip()
    assert os.listdir(tmp_path) == ["bill.json"]


def test_a_bill_in_xml_and_one_in_nothing_that_is_known(wherry: Wherry, layered: str) -> None:
    assert wherry.ok("sbom", "-f", "cyclonedx-xml", layered).startswith("<?xml")
    assert "cyclonedx-json" in wherry.refused("sbom", "-f", "spdx", layered, code=1)
