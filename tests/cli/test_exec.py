"""`exec`: which calls it makes, what it carries, how it ends. The engine is a fake."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from tests.cli.conftest import Shell
from tests.cli.engine import Engine
from tests.cli.test_run import in_terminal, read_until
from tests.client.fake_daemon import Answer, Request, frame, json_answer

EXEC = "e" * 64


class ExecEngine(Engine):
    """Runs one program in the container `web`: it says `output`, reads all input, and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.output = frame(1, b"out\n") + frame(2, b"err\n")
        self.reads = False
        self.input = b""
        self.documents = {
            "POST /containers/web/exec": json_answer({"Id": EXEC}, 201),
            f"GET /exec/{EXEC}/json": {"Running": False, "ExitCode": 7},
            f"POST /exec/{EXEC}/resize": Answer(200),
        }

    def __call__(self, request: Request) -> Answer | Callable[[Any], None]:
        if request.path == f"/exec/{EXEC}/start" and not request.json["Detach"]:
            return self._converse
        return super().__call__(request)

    def _converse(self, sock: Any) -> None:
        sock.sendall(self.output)
        while self.reads and (data := sock.recv(4096)):
            self.input += data
            if self.input.endswith(b"\x10\x11"):
                return


@pytest.fixture
def engine() -> ExecEngine:
    return ExecEngine()


def test_streams_and_exit_code_are_the_programs(shell: Shell) -> None:
    done = shell("exec", "web", "/tool.wasm", "-x", "--", "y")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    create, start, inspect = shell.daemon.requests
    assert create.json["Cmd"] == ["/tool.wasm", "-x", "--", "y"]
    assert (create.json["AttachStdin"], create.json["AttachStdout"]) == (False, True)
    assert (start.json["Detach"], start.json["Tty"]) == (False, False)
    assert inspect.path == f"/exec/{EXEC}/json"


def test_flags_are_dockers_fields(shell: Shell) -> None:
    (shell.folder / "vars").write_text("C=3\n")
    shell(
        "exec", "-e", "A=1", "--env", "PATH", "--env-file", "vars", "-u", "7:8", "-w", "/d",
        "--privileged", "--detach-keys", "ctrl-a", "-t", "web", "/t.wasm",
    )  # fmt: skip
    document = shell.daemon.requests[0].json
    assert document["Env"] == ["C=3", "A=1", f"PATH={os.environ['PATH']}"]
    assert (document["User"], document["WorkingDir"]) == ("7:8", "/d")
    assert (document["Privileged"], document["Tty"]) == (True, True)
    assert document["DetachKeys"] == "ctrl-a"


def test_without_e_the_environment_is_not_mentioned(shell: Shell) -> None:
    shell("exec", "web", "/t.wasm")
    assert "Env" not in shell.daemon.requests[0].json


def test_detached_it_asks_for_nothing_more(shell: Shell, engine: ExecEngine) -> None:
    engine.documents[f"POST /exec/{EXEC}/start"] = Answer(200)
    done = shell("exec", "-d", "-i", "web", "/t.wasm")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    create, start = shell.daemon.requests
    assert (create.json["AttachStdin"], create.json["AttachStdout"]) == (False, False)
    assert start.json["Detach"] is True


def test_detached_it_ends_as_the_engine_says(shell: Shell, engine: ExecEngine) -> None:
    refusal = json_answer({"message": "/t.wasm: no such file", "exitCode": 127}, 400)
    engine.documents[f"POST /exec/{EXEC}/start"] = refusal
    done = shell("exec", "-d", "web", "/t.wasm")
    assert (done.returncode, done.stderr) == (127, b"wherry: /t.wasm: no such file\n")


def test_stdin_is_carried_and_its_end_too(shell: Shell, engine: ExecEngine) -> None:
    engine.reads = True
    data = os.urandom(300_000)
    assert shell("exec", "-i", "web", "/t.wasm", input=data).returncode == 7
    assert engine.input == data


def test_the_detach_keys_reach_the_engine(shell: Shell, engine: ExecEngine) -> None:
    engine.reads = True
    engine.output = b"raw\n"
    pid, terminal = in_terminal(shell, "exec", "-it", "web", "/t.wasm")
    assert read_until(terminal, b"\n") == b"raw\n"
    os.write(terminal, b"\x03a\x10b\x10\x11")
    assert b"read escape sequence" in read_until(terminal, b"sequence")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert engine.input == b"\x03a\x10b\x10\x11"
    assert f"GET /exec/{EXEC}/json" not in shell.daemon.paths()


def test_a_terminal_is_refused_to_a_pipe(shell: Shell) -> None:
    done = shell("exec", "-it", "web", "/t.wasm")
    assert done.returncode == 1
    assert b"not a TTY" in done.stderr
    assert shell.daemon.requests == []


def test_a_program_is_needed(shell: Shell) -> None:
    done = shell("exec", "web")
    assert b"at least 2 arguments" in done.stderr
    assert shell.daemon.requests == []


def test_a_refusal_is_told(shell: Shell, engine: ExecEngine) -> None:
    engine.refusals["POST /containers/web/exec"] = (409, "Container web is not running")
    done = shell("exec", "web", "/t.wasm")
    assert (done.returncode, done.stderr) == (1, b"wherry: Container web is not running\n")


def test_an_engine_that_went_away_is_told(shell: Shell, engine: ExecEngine) -> None:
    engine.refusals[f"GET /exec/{EXEC}/json"] = (404, "No such exec instance")
    done = shell("exec", "web", "/t.wasm")
    assert done.returncode == 125
    assert b"the engine went away" in done.stderr
