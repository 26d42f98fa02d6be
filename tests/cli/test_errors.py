"""How commands end when something is wrong: one line, an exit code, never a traceback."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest
from tests.cli.conftest import COMMAND, Shell
from tests.cli.engine import Engine
from tests.client.fake_daemon import Answer

from wherry.cli.main import run


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["imges"], 1, "'imges' is not a wherry command; did you mean 'wherry images'?"),
        (["netwrk", "ls"], 1, "'netwrk' is not a wherry command; did you mean 'wherry network'?"),
        (["frobnicate"], 1, "'frobnicate' is not a wherry command; see 'wherry --help'"),
        (["container", "lss"], 1,
         "'container lss' is not a wherry command; did you mean 'wherry container ls'?"),
        (["ps", "--al"], 125,
         "ps: unknown flag: --al, did you mean --all?; see 'wherry ps --help'"),
        (["rm"], 1, "rm: needs at least 1 argument, got 0; see 'wherry rm --help'"),
        (["rename", "a"], 1, "rename: needs 2 arguments, got 1; see 'wherry rename --help'"),
        (["rename", "a", "b", "c"], 1,
         "rename: needs 2 arguments, got 3; see 'wherry rename --help'"),
        (["ps", "x"], 1, "ps: takes no arguments, got 'x'; see 'wherry ps --help'"),
        (["--bogus", "ps"], 125, "unknown flag: --bogus; see 'wherry --help'"),
        (["-H"], 125, "-H needs an address; see 'wherry --help'"),
        (["-H", "ftp://x", "ps"], 1,
         "ftp://x: not an address, write unix:///PATH or tcp://HOST:PORT"),
        (["help", "nosuch"], 1, "'nosuch' is not a wherry command; see 'wherry --help'"),
        (["completion", "tcsh"], 1,
         "'tcsh' is not a shell wherry knows; it knows bash, zsh and fish"),
        (["cp", "a", "b"], 1, "one of the two must be in a container: CONTAINER:PATH"),
        (["cp", "a:x", "b:y"], 1, "from one container to another is not possible; take two steps"),
        (["build", "-f", "-", "https://example.org/x.git"], 1,
         "a Dockerfile on stdin needs a folder: of a URL, name one in it with -f"),
    ],
)  # fmt: skip
def test_mistakes_in_typing(
    words: list[str], code: int, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == code
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"wherry: {line}\n")


def test_a_daemons_message_is_one_line_without_control_characters(
    shell: Shell, engine: Engine
) -> None:
    engine.refusals["GET /containers/json"] = (500, "first\n  second\x1b[2J\r\nthird\n")
    done = shell("ps")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"wherry: first; second?[2J; third\n"


def test_several_names_are_all_tried(shell: Shell, engine: Engine) -> None:
    engine.documents["DELETE /containers/one"] = Answer(204)
    engine.refusals["DELETE /containers/two"] = (404, "No such container: two")
    engine.documents["DELETE /containers/three"] = Answer(204)
    done = shell("rm", "one", "two", "three")
    assert done.returncode == 1
    assert done.stdout == b"one\nthree\n"
    assert done.stderr == b"wherry: No such container: two\n"


def test_output_nobody_reads_is_no_drama(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /volumes"] = {
        "Volumes": [
            {"Name": f"volume-{n}", "Driver": "local", "Scope": "local", "Mountpoint": "/x"}
            for n in range(20_000)
        ]
    }
    with shell.start("volume", "ls") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


def test_output_that_cannot_be_written_is_told(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /containers/json"] = []
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "ps"], stdout=full, stderr=subprocess.PIPE, env=shell.environment
        )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_ctrl_c_ends_with_130_and_no_words(shell: Shell, engine: Engine) -> None:
    def body() -> Iterator[bytes]:
        yield b'{"Type":"container","Action":"start","Actor":{"ID":"x"},"time":1}\n'
        engine.guest.ended.wait(60)

    engine.documents["GET /events"] = Answer(200, body())
    with shell.start("events") as process:
        assert process.stdout is not None and process.stderr is not None
        assert b"container start x" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""
    engine.guest.ended.set()
