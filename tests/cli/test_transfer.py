"""`pull`, `push` and what `run` pulls, against an engine that plays a registry."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import COMMAND, Shell
from tests.cli.engine import Engine
from tests.cli.screen import Screen
from tests.client.fake_daemon import Answer

from wherry.cli.platform import document_of

ID = "0123456789ab"


@pytest.fixture(autouse=True)
def no_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("DOCKER_AUTH_CONFIG", "DOCKER_DEFAULT_PLATFORM"):
        monkeypatch.delenv(name, raising=False)


def stream(*events: dict[str, Any]) -> Answer:
    return Answer(200, "".join(json.dumps(event) + "\r\n" for event in events).encode())


def layer(status: str, current: int = 0, total: int = 0) -> dict[str, Any]:
    detail = {"current": current, "total": total} if total else {}
    return {"id": ID, "status": status, "progressDetail": detail}


PULLED = (
    {"status": "Pulling from library/web", "id": "latest"},
    layer("Pulling fs layer"), layer("Downloading", 1, 2), layer("Pull complete"),
    {"status": "Digest: sha256:abc"}, {"status": "Status: Downloaded newer image for web:latest"},
)  # fmt: skip
TOLD = (
    f"latest: Pulling from library/web\n{ID}: Pulling fs layer\n{ID}: Pull complete\n"
    "Digest: sha256:abc\nStatus: Downloaded newer image for web:latest\n"
)


def test_a_failure_comes_after_what_was_told_before_it(shell: Shell, engine: Engine) -> None:
    engine.refusals["POST /images/create"] = (404, "nothing like that")
    done = subprocess.run(
        [*COMMAND, "pull", "web"],
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    assert done.stdout == b"Using default tag: latest\nwherry: nothing like that\n"


def test_a_pull_in_a_pipe_is_plain_lines(shell: Shell, engine: Engine) -> None:
    engine.documents["POST /images/create"] = stream(*PULLED)
    done = shell("pull", "web")
    assert done.stderr == b""
    assert done.stdout.decode() == (
        f"Using default tag: latest\n{TOLD}docker.io/library/web:latest\n"
    )
    assert shell.daemon.requests[-1].query == {"fromImage": ["web"], "tag": ["latest"]}


def test_a_quiet_pull_prints_the_name_only(shell: Shell, engine: Engine) -> None:
    engine.documents["POST /images/create"] = stream(*PULLED)
    assert shell("pull", "-q", "r.example.org/a/web:v1").stdout == b"r.example.org/a/web:v1\n"


@pytest.mark.parametrize(
    ("words", "query"),
    [
        (["-a", "localhost:5000/web"], {"fromImage": ["localhost:5000/web"]}),
        (["web@sha256:ab"], {"fromImage": ["web"], "tag": ["sha256:ab"]}),
        (
            ["--platform", "wasi/wasm", "a/web:v1"],
            {"fromImage": ["a/web"], "tag": ["v1"], "platform": ["wasi/wasm"]},
        ),
    ],
)
def test_what_a_pull_asks_for(
    shell: Shell, engine: Engine, words: list[str], query: dict[str, list[str]]
) -> None:
    engine.documents["POST /images/create"] = stream(*PULLED)
    assert shell("pull", *words).returncode == 0
    assert shell.daemon.requests[-1].query == query


def test_dockers_variable_chooses_a_platform(
    shell: Shell, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    engine.documents["POST /images/create"] = stream(*PULLED)
    assert shell("pull", "web").returncode == 0
    assert shell.daemon.requests[-1].query["platform"] == ["linux/arm64"]
    assert shell("run", "--rm", "web").returncode == 0
    assert shell.daemon.requests[1].query["platform"] == ["linux/arm64"]


def test_an_error_in_the_stream_is_one_line_after_the_progress(
    shell: Shell, engine: Engine
) -> None:
    failed = {"errorDetail": {"message": "no space"}, "error": "no\nspace"}
    engine.documents["POST /images/create"] = stream(*PULLED[:2], failed)
    done = shell("pull", "web")
    assert done.returncode == 1
    assert done.stderr == b"wherry: no; space\n"
    assert done.stdout.endswith(b"Pulling fs layer\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pull", "-a", "web:v1"], "takes a name without a tag"),
        (["pull", ""], "is no name of an image"),
        (["pull", "https://r.example.org/web"], "is no name of an image"),
        (["push", "web@sha256:ab"], "needs a tag, not a digest"),
        (["push", "--platform", "linux", "web"], "write OS/ARCH[/VARIANT]"),
    ],
)
def test_mistakes_are_told_before_the_engine_is_asked(
    shell: Shell, words: list[str], said: str
) -> None:
    done = shell(*words)
    assert done.returncode != 0
    assert said in done.stderr.decode() and len(done.stderr.splitlines()) == 1
    assert shell.daemon.paths() == []


@pytest.mark.parametrize(
    ("told", "advice"),
    [
        ("no basic auth credentials", "log in with 'wherry login r.example.org'"),
        ("pull access denied for web, repository does not exist or may require 'docker login'",
         "log in with 'wherry login r.example.org'"),
        ("http: server gave HTTP response to HTTPS client", "r.example.org speaks plain HTTP"),
        ("no matching manifest for linux/s390x in the manifest list entries",
         "'wherry manifest inspect r.example.org/web:v1' shows the platforms it is for"),
        ("manifest unknown", ""), ("denied: log in with 'wherry login r.example.org'", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("late", [False, True])
def test_what_to_do_is_told_where_the_engine_does_not(
    shell: Shell, engine: Engine, told: str, advice: str, late: bool
) -> None:
    if late:
        engine.documents["POST /images/create"] = stream(*PULLED[:1], {"error": told})
    else:
        engine.refusals["POST /images/create"] = (500, told)
    done = shell("pull", "r.example.org/web:v1")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"wherry: {told}") and advice in line
    assert (line == f"wherry: {told}") == (not advice)


def test_a_push(shell: Shell, engine: Engine) -> None:
    engine.documents["POST /images/localhost:5000/web/push"] = stream(
        {"status": "The push refers to repository [localhost:5000/web]"},
        layer("Preparing"), layer("Pushing", 1, 2), layer("Pushed"),
        {"status": "v1: digest: sha256:abc size: 428"},
        {"progressDetail": {}, "aux": {"Tag": "v1", "Digest": "sha256:abc", "Size": 428}},
    )  # fmt: skip
    done = shell("push", "--platform", "linux/arm/v7", "localhost:5000/web:v1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == (
        "The push refers to repository [localhost:5000/web]\n"
        f"{ID}: Preparing\n{ID}: Pushed\nv1: digest: sha256:abc size: 428\n"
    )
    query = shell.daemon.requests[-1].query
    assert query["tag"] == ["v1"]
    assert json.loads(query["platform"][0]) == {
        "os": "linux", "architecture": "arm", "variant": "v7",
    }  # fmt: skip
    assert shell("push", "-q", "localhost:5000/web:v1").stdout == b"localhost:5000/web:v1\n"
    assert shell("push", "-a", "localhost:5000/web").returncode == 0
    assert "tag" not in shell.daemon.requests[-1].query


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("linux/arm/v7", {"os": "linux", "architecture": "arm", "variant": "v7"}),
        ("wasi/wasm", {"os": "wasi", "architecture": "wasm"}),
        ("wasm", {"os": "wasi", "architecture": "wasm"}),
    ],
)
def test_platforms_in_newer_calls_are_documents(text: str, fields: dict[str, str]) -> None:
    assert json.loads(document_of(text)) == fields
    assert document_of("") == ""


def test_a_run_pulls_what_is_missing_and_tells_on_stderr(shell: Shell, engine: Engine) -> None:
    engine.refusals["POST /containers/create"] = (404, "No such image: web:latest")
    engine.documents["POST /images/create"] = stream(*PULLED)
    done = shell("run", "--rm", "web")
    assert done.returncode == 125 and done.stdout == b""
    assert done.stderr.decode() == (
        f"wherry: image 'web' is not here, pulling it\n{TOLD}wherry: No such image: web:latest\n"
    )
    assert shell.daemon.paths() == [
        "POST /containers/create", "POST /images/create", "POST /containers/create",
    ]  # fmt: skip


def test_a_mistyped_file_is_not_called_an_image_only(shell: Shell, engine: Engine) -> None:
    engine.refusals["POST /containers/create"] = (404, "no such image: tool.wasm: pull it")
    engine.refusals["POST /images/create"] = (404, "no such host")
    told = shell("run", "tool.wasm").stderr.decode()
    assert told.startswith("wherry: neither a file nor an image 'tool.wasm' is here, pulling it\n")


@pytest.mark.parametrize(("policy", "pulls"), [("always", 1), ("missing", 0), ("never", 0)])
def test_the_policy_of_a_run(shell: Shell, engine: Engine, policy: str, pulls: int) -> None:
    engine.documents["POST /images/create"] = stream(*PULLED)
    assert shell("run", "--rm", "--quiet", "--pull", policy, "web").returncode == 0
    assert shell.daemon.paths().count("POST /images/create") == pulls


def test_never_pulling_says_what_is_missing(shell: Shell, engine: Engine) -> None:
    engine.refusals["POST /containers/create"] = (404, "No such image: web:latest")
    done = shell("run", "--rm", "--pull", "never", "web")
    assert (done.returncode, shell.daemon.paths()) == (125, ["POST /containers/create"])


def test_a_pull_that_fails_in_a_run_ends_with_125(shell: Shell, engine: Engine) -> None:
    engine.refusals["POST /containers/create"] = (404, "No such image: web:latest")
    engine.documents["POST /images/create"] = stream({"error": "denied"})
    done = shell("run", "--rm", "-q", "web")
    assert (done.returncode, done.stderr) == (125, b"wherry: denied\n")


class Terminal:
    """A command at a terminal of 20 lines, and what it shows."""

    def __init__(self, shell: Shell, *words: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 90, 0, 0))
        self.screen = Screen(20, 90)
        self.process = subprocess.Popen(
            [*COMMAND, *words], stdin=slave, stdout=slave, stderr=slave,
            env={**shell.environment, "TERM": "xterm"},
        )  # fmt: skip
        os.close(slave)

    def expect(self, text: str) -> None:
        """Waits until a line shows this."""
        while not any(text in line for line in self.screen.text):
            assert select.select([self.master], [], [], 60)[0], self.screen.text
            self.screen.write(os.read(self.master, 1 << 16))

    def end(self) -> int:
        """The exit code; all that was shown is on the screen."""
        code = self.process.wait(60)
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.screen.write(os.read(self.master, 1 << 16))
            except OSError:
                break
        os.close(self.master)
        return code


@pytest.fixture
def halfway(engine: Engine) -> Iterator[threading.Event]:
    """A pull stands still in the middle of a layer until this is set."""
    going_on = threading.Event()

    def body() -> Iterator[bytes]:
        for event in (*PULLED[:2], layer("Downloading", 1_000_000, 4_000_000)):
            yield json.dumps(event).encode() + b"\n"
        going_on.wait(60)
        for event in PULLED[3:]:
            yield json.dumps(event).encode() + b"\n"

    engine.documents["POST /images/create"] = Answer(200, body())
    yield going_on
    going_on.set()


def test_a_terminal_sees_progress_while_it_is_made(shell: Shell, halfway: threading.Event) -> None:
    terminal = Terminal(shell, "pull", "web")
    terminal.expect("1MB/4MB")
    halfway.set()
    assert terminal.end() == 0
    assert "\n".join(terminal.screen.text) == (
        "Using default tag: latest\nlatest: Pulling from library/web\n"
        f"{ID}: Pull complete\nDigest: sha256:abc\n"
        "Status: Downloaded newer image for web:latest\ndocker.io/library/web:latest"
    )


def test_ctrl_c_ends_a_pull_and_leaves_what_was_shown(
    shell: Shell, halfway: threading.Event
) -> None:
    terminal = Terminal(shell, "pull", "web")
    terminal.expect("1MB/4MB")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert len(terminal.screen.text) == 3 and "1MB/4MB" in terminal.screen.text[-1]
    assert terminal.screen.column == 0


def test_the_platforms_of_an_image_are_a_table(shell: Shell, engine: Engine) -> None:
    def manifest(os: str, arch: str, digit: str, *, here: bool, kind: str = "image") -> Any:
        return {
            "Descriptor": {"digest": f"sha256:{digit * 64}",
                           "platform": {"os": os, "architecture": arch}},
            "Available": here, "Kind": kind, "Size": {"Content": 1_234_000, "Total": 9},
        }  # fmt: skip

    engine.documents["GET /images/web/json"] = {"Id": "sha256:x", "Manifests": [
        manifest("wasi", "wasm", "a", here=True), manifest("linux", "arm64", "b", here=False),
        manifest("unknown", "unknown", "c", here=False, kind="attestation"),
    ]}  # fmt: skip
    done = shell("image", "inspect", "--platforms", "web")
    assert done.stderr == b""
    assert [line.split() for line in done.stdout.decode().splitlines()] == [
        ["PLATFORM", "DIGEST", "SIZE", "HERE"],
        ["wasi/wasm", f"sha256:{'a' * 64}", "1.23MB", "yes"],
        ["linux/arm64", f"sha256:{'b' * 64}", "-", "no"],
        ["attestation", f"sha256:{'c' * 64}", "-", "no"],
    ]
    engine.documents["GET /images/old/json"] = {
        "Id": "sha256:old", "Os": "linux", "Architecture": "arm", "Variant": "v7", "Size": 5,
    }  # fmt: skip
    layout = "{{.Image}} {{.Platform}} {{.Here}}"
    done = shell("image", "inspect", "--platforms", "-f", layout, "old", "none", "web")
    assert done.stdout.decode().splitlines()[:2] == ["old linux/arm/v7 yes", "web wasi/wasm yes"]
    assert done.returncode == 1 and done.stderr.startswith(b"wherry: No such thing")


def test_a_list_is_made_annotated_pushed_and_removed(shell: Shell, engine: Engine) -> None:
    engine.documents |= {
        "POST /manifests/create": {"Name": "localhost:5000/web:latest"},
        "POST /manifests/localhost:5000/web/annotate": {},
        "POST /manifests/localhost:5000/web/push": stream({"status": "sha256:abc"}),
        "DELETE /manifests/localhost:5000/web": {},
    }
    name = "localhost:5000/web"
    done = shell("manifest", "create", "--amend", name, f"{name}:a", f"{name}:b")
    assert done.stdout == b"Created manifest list localhost:5000/web:latest\n"
    assert shell.daemon.requests[-1].json == {
        "Name": name, "Manifests": [f"{name}:a", f"{name}:b"], "Amend": True,
    }  # fmt: skip
    flags = ("--os", "wasi", "--arch", "wasm", "--os-features", "a,b")
    assert shell("manifest", "annotate", *flags, name, f"{name}:a").returncode == 0
    body = shell.daemon.requests[-1].json
    assert (body["OS"], body["Architecture"], body["OSFeatures"]) == ("wasi", "wasm", ["a", "b"])
    assert shell("manifest", "push", "-p", name).stdout == b"sha256:abc\n"
    assert shell.daemon.requests[-1].query == {"purge": ["1"]}
    assert shell("manifest", "rm", name).returncode == 0


def test_a_manifest_is_shown_as_it_is(shell: Shell, engine: Engine) -> None:
    spread = b'{\n   "schemaVersion": 2\n}'
    engine.documents["GET /manifests/web/json"] = Answer(200, spread)
    assert shell("manifest", "inspect", "web").stdout == spread + b"\n"
    engine.documents["GET /manifests/web/json"] = Answer(200, b'{"schemaVersion":2}')
    assert shell("manifest", "inspect", "web").stdout == spread + b"\n"
    assert shell("manifest", "inspect", "-v", "web").stdout == b'{\n\t"schemaVersion": 2\n}\n'
    assert shell.daemon.requests[-1].query == {"verbose": ["1"]}


def test_a_search_is_a_table(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /images/search"] = [
        {"name": "web", "description": "a\nb", "star_count": 7, "is_official": True},
        {"name": "other"},
    ]
    done = shell("search", "-f", "stars=3", "--limit", "5", "localhost:5000/web")
    assert [line.split() for line in done.stdout.decode().splitlines()] == [
        ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"], ["web", "a", "b", "7", "[OK]"],
        ["other", "0"],
    ]  # fmt: skip
    query = shell.daemon.requests[-1].query
    assert query == {
        "term": ["localhost:5000/web"], "limit": ["5"], "filters": ['{"stars":["3"]}'],
    }  # fmt: skip
