"""`build`: what is sent, and what is made of the answers."""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
from pathlib import Path

import pytest
from tests.cli.conftest import Shell
from tests.cli.engine import Engine
from tests.cli.screen import Screen
from tests.client.fake_daemon import Answer

from wherry.cli.build_view import follow_build
from wherry.cli.session import Session

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


PULLS = [
    {"stream": "Step 1/2 : FROM busybox\n"},
    {"status": "Pulling from library/busybox", "id": "latest"},
    {"status": "Downloading", "id": "aaaa", "progressDetail": {"current": 1, "total": 2}},
    {"status": "Pull complete", "id": "aaaa", "progressDetail": {}},
    {"status": "Status: Downloaded newer image for busybox:latest"},
    {"stream": " ---> 0123456789ab\nStep 2/2 : COPY a /a\n ---> abc\n"},
    {"stream": "Successfully built abc\n"},
]


def test_a_build_tells_what_it_pulls(shell: Shell, engine: Engine, context: Path) -> None:
    lines = "".join(json.dumps(event) + "\n" for event in PULLS)
    engine.documents["POST /build"] = Answer(200, lines.encode())
    assert shell("build", str(context)).stdout.decode() == (
        "[1/2] FROM busybox\nlatest: Pulling from library/busybox\naaaa: Pull complete\n"
        "Status: Downloaded newer image for busybox:latest\n[2/2] COPY a /a\n"
        "Successfully built abc\n"
    )


def test_pulls_have_lines_of_their_own_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(24, 80)
    session = Session()
    monkeypatch.setattr(session, "write", lambda text: screen.write(text.encode()))
    monkeypatch.setattr("wherry.cli.transfer._write", lambda output, data: screen.write(data))
    monkeypatch.setattr("wherry.cli.terminal.window_size", lambda descriptor=1: (24, 80))
    follow_build(session, PULLS, live=True)
    shown = [re.sub(r"\d+\.\ds", "N.Ns", line) for line in screen.text]
    assert shown == [
        "[1/2] FROM busybox", "latest: Pulling from library/busybox", "aaaa: Pull complete",
        "Status: Downloaded newer image for busybox:latest", "[2/2] COPY a /a  N.Ns",
        "an image without a name is abc, built in N.Ns",
    ]  # fmt: skip


def test_a_build_takes_all_logins_along(
    shell: Shell, engine: Engine, context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    engine.documents["POST /build"] = Answer(200, b'{"stream":"Successfully built abc\\n"}\n')
    assert shell("build", "--platform", "wasi/wasm,linux/amd64", str(context)).returncode == 0
    assert "x-registry-config" not in shell.daemon.requests[-1].headers
    assert shell.daemon.requests[-1].query["platform"] == ["wasi/wasm,linux/amd64"]
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text(
        '{"auths": {"r.example.org": {"auth": "YTpi"}, "empty": {}}, '
        '"credHelpers": {"gone": "missing"}}'
    )
    done = shell("build", str(context))
    assert done.returncode == 0
    assert b"docker-credential-missing is not on the PATH" in done.stderr
    header = shell.daemon.requests[-1].headers["x-registry-config"]
    assert json.loads(base64.urlsafe_b64decode(header)) == {
        "r.example.org": {"username": "a", "password": "b", "serveraddress": "r.example.org"},
    }  # fmt: skip
