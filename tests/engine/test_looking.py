"""The process that looks into an image: whatever the image's files are, it answers in one way."""

import json
import os
from pathlib import Path

import pytest
from tests.wasm.test_modules import HEAD, wasi

from wherry.engine.looking import LayerPlace, LookFailed, Question, look, programs


def question(*folders: Path, form: str = "", words: tuple[str, ...] = ("/app.wasm",)) -> Question:
    """Of an image whose layers, lowest first, are unpacked in `folders`."""
    layers = [
        LayerPlace(f"sha256:{number:064}", "layer", 1, f"sha256:{number:064}", str(folder))
        for number, folder in enumerate(folders)
    ]
    return Question(
        form=form,
        id="sha256:" + "0" * 64,
        digest="sha256:" + "1" * 64,
        name="web",
        tag="1",
        created="",
        author="",
        platform="wasi/wasm",
        layers=layers,
        programs=programs([*words], "/", []),
        has_command=False,
    )


def layer(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_the_uppermost_file_is_what_is_looked_at(tmp_path: Path) -> None:
    lower = layer(tmp_path / "a", **{"app.wasm": HEAD, "lib__other.wasm": HEAD})
    upper = layer(tmp_path / "b", **{"app.wasm": wasi("fd_write")})
    told = json.loads(look(question(lower, upper)))
    assert (told["Path"], told["Entry"], told["Others"]) == (
        "/app.wasm",
        "command",
        ["/lib/other.wasm"],
    )


def test_a_link_is_followed_inside_the_image_only(tmp_path: Path) -> None:
    outside = tmp_path / "secret.wasm"
    outside.write_bytes(wasi("fd_write"))
    folder = layer(tmp_path / "a", **{"bin__real.wasm": HEAD})
    (folder / "app.wasm").symlink_to("/bin/real.wasm")
    assert json.loads(look(question(folder)))["Path"] == "/bin/real.wasm"
    (folder / "app.wasm").unlink()
    (folder / "app.wasm").symlink_to(outside)
    assert json.loads(look(question(folder)))["Path"] == "/bin/real.wasm"  # the only one there is
    (folder / "bin/real.wasm").unlink()
    (folder / "loop").symlink_to("loop")
    with pytest.raises(LookFailed, match="no WebAssembly"):
        look(question(folder, words=("/loop",)))


def test_names_that_are_no_text_are_told_all_the_same(tmp_path: Path) -> None:
    folder = layer(tmp_path / "a", **{"app.wasm": HEAD})
    for name in (b"\xff.wasm", b"a\nb.wasm", b"\x1b[2J.wasm"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(HEAD)
    told = json.loads(look(question(folder)))
    assert set(told["Others"]) == {"/\ufffd.wasm", "/a\nb.wasm", "/\x1b[2J.wasm"}
    for form in ("cyclonedx-json", "cyclonedx-xml"):
        assert look(question(folder, form=form))


def test_pipes_and_broken_modules_are_no_obstacle(tmp_path: Path) -> None:
    folder = layer(tmp_path / "a", **{"app.wasm": wasi("fd_write"), "bad.wasm": HEAD + b"\xff"})
    os.mkfifo(folder / "pipe.wasm")
    bill = json.loads(look(question(folder, form="cyclonedx-json")))
    names = {each["name"] for each in bill["components"]}
    assert "app.wasm" in names
    assert not {"bad.wasm", "pipe.wasm"} & names
    with pytest.raises(LookFailed, match=r"/bad\.wasm: a section"):
        look(question(folder, words=("/bad.wasm",)))


@pytest.mark.parametrize(
    ("words", "folder", "env", "expected"),
    [
        (["/x.wasm", "a"], "/w", [], ["x.wasm"]),
        (["x.wasm"], "/w", ["PATH=/bin:/opt"], ["w/x.wasm", "x.wasm", "bin/x.wasm", "opt/x.wasm"]),
        (["./x.wasm"], "", [], ["./x.wasm", "./x.wasm"]),
        ([], "/", [], []),
    ],
)
def test_a_program_is_looked_for_where_containers_do(
    words: list[str], folder: str, env: list[str], expected: list[str]
) -> None:
    assert programs(words, folder, env) == expected
