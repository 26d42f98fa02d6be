"""`inspect --wasm` and `sbom` against engines that know them, and engines that do not."""

from __future__ import annotations

import pytest
from tests.cli.conftest import Shell
from tests.client.fake_daemon import Answer


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("inspect", "--wasm", "web"), "/images/web/wasm"),
        (("sbom", "web"), "/images/web/sbom"),
    ],
)
def test_an_engine_that_does_not_look_into_images_is_told_of_in_one_line(
    shell: Shell, words: tuple[str, ...], path: str
) -> None:
    shell.engine.refusals[f"GET {path}"] = (404, "page not found")
    done = shell(*words)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("wherry: this engine does not look into images")
    assert done.stderr.count(b"\n") == 1
    shell.engine.refusals[f"GET {path}"] = (404, "no such image: web")
    assert b"no such image: web" in shell(*words).stderr


def test_a_bill_is_written_as_it_comes_and_a_file_is_whole_or_not_there(shell: Shell) -> None:
    shell.engine.documents["GET /images/web/sbom"] = Answer(body='{"ö": 1}\n'.encode())
    assert shell("sbom", "web").stdout == '{"ö": 1}\n'.encode()
    assert shell("sbom", "-o", "bill", "web").returncode == 0
    assert (shell.folder / "bill").read_bytes() == '{"ö": 1}\n'.encode()
    done = shell("sbom", "-o", "nowhere/bill", "web")
    assert (done.returncode, done.stderr) == (
        1,
        b"wherry: nowhere/bill: No such file or directory\n",
    )


def test_what_is_no_format_and_no_file_is_told(shell: Shell) -> None:
    assert b"cyclonedx-json, cyclonedx-xml" in shell("sbom", "-f", "spdx", "web").stderr
    assert shell("inspect", "--wasm", "./no.wasm").stderr == b"wherry: ./no.wasm: no such file\n"
    assert shell("inspect", "--wasm", "./no.wasm").returncode == 127


def test_a_name_that_may_be_a_files_says_so(shell: Shell) -> None:
    for name in ("tool.wasm", "notes"):
        said = f"no such image: {name}: pull it, build it, or load it"
        shell.engine.refusals[f"GET /images/{name}/wasm"] = (404, said)
    (shell.folder / "notes").write_text("")
    told = shell("inspect", "--wasm", "tool.wasm", "notes").stderr.decode().splitlines()
    assert told[0].endswith("or load it; nor is there a file of this name")
    assert told[1].endswith("or load it; the file is meant by './notes'")


def test_what_is_not_there_does_not_hide_what_is(shell: Shell) -> None:
    (shell.folder / "tool.wasm").write_bytes(b"\0asm\x01\0\0\0")
    done = shell("inspect", "--wasm", "./no.wasm", "./tool.wasm")
    assert (done.returncode, done.stderr) == (127, b"wherry: ./no.wasm: no such file\n")
    assert done.stdout.startswith(b"./tool.wasm\n")
