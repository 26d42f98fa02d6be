"""`build`: what is sent, and what is made of the answers."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from tests.cli.conftest import Shell
from tests.cli.engine import Engine
from tests.client.fake_daemon import Answer

LINES = (
    b'{"stream":"Step 1/1 : FROM scratch\\n"}\n{"stream":" ---> \\n"}\n'
    b'{"aux":{"ID":"sha256:abc"}}\n{"stream":"Successfully built abc\\n"}\n'
)


@pytest.fixture(autouse=True)
def context(shell: Shell, engine: Engine) -> Path:
    engine.documents["POST /build"] = Answer(200, LINES)
    folder = shell.folder / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "a").write_text("1")
    return folder


def names(body: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        return archive.getnames()


def test_flags_become_parameters(shell: Shell) -> None:
    done = shell(
        "build", "-t", "a", "--tag", "b:1", "--build-arg", "X=1", "--build-arg", "NOT_SET_HERE",
        "--label", "k=v", "--target", "final", "--platform", "wasi/wasm", "--no-cache", "context",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"[1/1] FROM scratch\nSuccessfully built abc\n"
    (request,) = shell.daemon.requests
    assert request.query["t"] == ["a", "b:1"]
    assert json.loads(request.query["buildargs"][0]) == {"X": "1", "NOT_SET_HERE": None}
    assert json.loads(request.query["labels"][0]) == {"k": "v"}
    assert request.query["target"] == ["final"]
    assert request.query["nocache"] == ["1"]
    assert names(request.body) == [".", "./Dockerfile", "./a"]


def test_the_source_date_goes_along(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    shell("build", "context")
    assert json.loads(shell.daemon.requests[0].query["buildargs"][0]) == {"SOURCE_DATE_EPOCH": "7"}


def test_quiet_prints_the_id_and_a_file_gets_it_too(shell: Shell) -> None:
    done = shell("build", "-q", "--iidfile", "id", "context")
    assert (done.stdout, done.stderr) == (b"sha256:abc\n", b"")
    assert (shell.folder / "id").read_text() == "sha256:abc"


def test_a_failure_is_told_after_what_was_said(shell: Shell, engine: Engine) -> None:
    failure = b'{"stream":"Step 1/1 : RUN x\\n"}\n{"error":"Dockerfile:1: RUN needs Linux"}\n'
    engine.documents["POST /build"] = Answer(200, failure)
    done = shell("build", "context")
    assert (done.returncode, done.stdout) == (1, b"[1/1] RUN x\n")
    assert done.stderr == b"wherry: Dockerfile:1: RUN needs Linux\n"
    done = shell("build", "-q", "context")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.endswith(b"wherry: Dockerfile:1: RUN needs Linux\n")


def test_a_dockerfile_from_stdin_with_a_folder(shell: Shell) -> None:
    assert shell("build", "-f", "-", "context", input=b"FROM other\n").returncode == 0
    (request,) = shell.daemon.requests
    (name,) = request.query["dockerfile"]
    with tarfile.open(fileobj=io.BytesIO(request.body)) as archive:
        content = archive.extractfile(name)
        assert content is not None
        assert content.read() == b"FROM other\n"


def test_a_dockerfile_from_stdin_alone(shell: Shell) -> None:
    assert shell("build", "-", input=b"FROM scratch\n").returncode == 0
    assert names(shell.daemon.requests[0].body) == ["Dockerfile"]


def test_a_context_from_stdin(shell: Shell, context: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.add(context, ".")
    assert shell("build", "-f", "other", "-", input=out.getvalue()).returncode == 0
    (request,) = shell.daemon.requests
    assert request.body == out.getvalue()
    assert request.query["dockerfile"] == ["other"]


@pytest.mark.parametrize(
    ("words", "input", "said"),
    [
        (["-f", "-", "-"], b"x", b"not both"),
        (["-"], b"", b"stdin is empty"),
        (["-f", "other", "-"], b"FROM scratch\n", b"no tar archive"),
        (["-f", "none", "context"], b"", b"none: no such file"),
        (["nowhere"], b"", b"nowhere: no such folder"),
    ],
)
def test_mistakes(shell: Shell, words: list[str], input: bytes, said: bytes) -> None:
    done = shell("build", *words, input=input)
    assert done.returncode == 1
    assert said in done.stderr
    assert shell.daemon.requests == []


def test_what_cannot_be_read_ends_the_build(shell: Shell, context: Path) -> None:
    (context / ".dockerignore").write_text("[open\n")
    done = shell("build", "context")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b".dockerignore" in done.stderr
