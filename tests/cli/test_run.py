"""`run`: which calls it makes, what it carries, how it ends. The engine is a fake."""

from __future__ import annotations

import os
import pty
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import COMMAND, Shell
from tests.cli.engine import ID, Engine
from tests.client.fake_daemon import Answer, json_answer


def test_output_and_exit_code_are_the_containers(shell: Shell, engine: Engine) -> None:
    engine.guest.output, engine.guest.code = b"ahoy\n", 7
    done = shell("run", "--rm", "hello", "-x")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"ahoy\n", b"done\n")


def test_a_run_takes_four_requests_and_no_more(shell: Shell) -> None:
    assert shell("run", "--rm", "hello").returncode == 0
    assert sorted(shell.daemon.paths()) == [
        f"POST /containers/{ID}/attach",
        f"POST /containers/{ID}/start",
        f"POST /containers/{ID}/wait",
        "POST /containers/create",
    ]
    asked = {request.path.rpartition("/")[2]: request for request in shell.daemon.requests}
    assert asked["wait"].query == {"condition": ["removed"]}
    assert asked["attach"].query["stdout"] == ["1"]
    assert "stdin" not in asked["attach"].query
    assert shell.daemon.paths()[-1].endswith("/start"), "output could be missed"
    assert shell.daemon.connections == 3


def test_without_rm_the_next_exit_is_waited_for(shell: Shell) -> None:
    shell("run", "hello")
    (wait,) = [r for r in shell.daemon.requests if r.path.endswith("/wait")]
    assert wait.query == {"condition": ["next-exit"]}


def test_detached_prints_the_id_alone(shell: Shell) -> None:
    done = shell("run", "-d", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{ID}\n".encode(), b"")
    create, start = shell.daemon.requests
    assert start.path.endswith("/start")
    assert create.json["AttachStdout"] is False


def test_create_prints_the_id_and_starts_nothing(shell: Shell) -> None:
    done = shell("create", "--name", "web", "--platform", "wasi/wasm", "hello")
    assert done.stdout == f"{ID}\n".encode()
    (create,) = shell.daemon.requests
    assert create.query == {"name": ["web"], "platform": ["wasi/wasm"]}


def test_stdin_is_carried_and_its_end_too(shell: Shell, engine: Engine) -> None:
    engine.guest.waits_for_input = True
    data = os.urandom(300_000)
    assert shell("run", "-i", "hello", input=data).returncode == 0
    assert engine.guest.input == data


def test_without_i_stdin_stays_here(shell: Shell, engine: Engine) -> None:
    assert shell("run", "hello", input=b"not for you").returncode == 0
    assert engine.guest.input == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(shell: Shell, engine: Engine, number: signal.Signals) -> None:
    engine.guest.output, engine.guest.code = b"up\n", 128 + number
    engine.guest.waits_for_signal = True
    with shell.start("run", "hello") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    (kill,) = [r for r in shell.daemon.requests if r.path.endswith("/kill")]
    assert kill.query == {"signal": [str(int(number))]}


def test_a_container_that_hears_nothing_is_left_at_the_third_interrupt(
    shell: Shell, engine: Engine
) -> None:
    engine.guest.output = b"up\n"
    engine.guest.waits_for_signal = True
    engine.documents[f"POST /containers/{ID}/kill"] = Answer(204)
    with shell.start("run", "hello") as process:
        assert process.stdout is not None
        process.stdout.readline()
        for count in (1, 2):
            process.send_signal(signal.SIGINT)
            while sum(r.path.endswith("/kill") for r in shell.daemon.requests) < count:
                assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_a_reader_that_goes_away_ends_the_container(shell: Shell, engine: Engine) -> None:
    engine.guest.output = b"x" * 200_000
    engine.guest.waits_for_signal = True
    with shell.start("run", "hello") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""
    (kill,) = [r for r in shell.daemon.requests if r.path.endswith("/kill")]
    assert kill.query == {"signal": [str(int(signal.SIGPIPE))]}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('exec: "x": executable file not found in $PATH', 127),
        ("/nosuch.wasm: no such file or directory", 127),
        ("exec: /tmp: permission denied", 126),
        ("something else", 125),
    ],
)
def test_a_start_that_fails_has_dockers_exit_codes(
    shell: Shell, engine: Engine, message: str, code: int
) -> None:
    engine.refusals[f"POST /containers/{ID}/start"] = (400, message)
    done = shell("run", "--rm", "hello")
    assert done.returncode == code
    assert done.stderr == f"wherry: {message}\n".encode()


def test_the_engine_may_name_the_exit_code_itself(shell: Shell, engine: Engine) -> None:
    refusal = json_answer({"message": "/m.wasm: not a module", "exitCode": 126}, 400)
    engine.documents[f"POST /containers/{ID}/start"] = refusal
    assert shell("run", "hello").returncode == 126


def test_a_refused_container_ends_with_125(shell: Shell, engine: Engine) -> None:
    engine.refusals["POST /containers/create"] = (409, "the name is in use")
    done = shell("run", "--name", "web", "hello")
    assert (done.returncode, done.stderr) == (125, b"wherry: the name is in use\n")
    assert shell("create", "--name", "web", "hello").returncode == 1


def test_a_missing_image_is_pulled_once(shell: Shell, engine: Engine) -> None:
    engine.refusals["POST /containers/create"] = (404, "No such image: far/away:latest")
    lines = b'{"status":"Pulling from far/away","id":"latest"}\n{"error":"no network"}\n'
    engine.documents["POST /images/create"] = Answer(200, lines)
    done = shell("run", "far/away")
    assert done.returncode == 125
    assert done.stderr.decode().splitlines() == [
        "wherry: image 'far/away' is not here, pulling it",
        "latest: Pulling from far/away",
        "wherry: no network",
    ]
    pull = shell.daemon.requests[-1]
    assert pull.query == {"fromImage": ["far/away"], "tag": ["latest"]}
    done = shell("run", "--pull", "never", "far/away")
    assert done.stderr == b"wherry: No such image: far/away:latest\n"


def test_the_id_goes_to_a_file_once(shell: Shell) -> None:
    assert shell("create", "--cidfile", "cid", "hello").returncode == 0
    assert (shell.folder / "cid").read_text() == ID
    done = shell("create", "--cidfile", "cid", "hello")
    assert done.returncode == 125
    assert b"cid exists" in done.stderr


def test_a_terminal_is_refused_to_a_pipe(shell: Shell) -> None:
    done = shell("run", "-it", "hello")
    assert done.returncode == 1
    assert b"not a TTY" in done.stderr


def in_terminal(shell: Shell, *words: str) -> tuple[int, int]:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(COMMAND[0], [*COMMAND, *words], shell.environment)
    return pid, terminal


def read_until(terminal: int, sought: bytes) -> bytes:
    seen = b""
    while sought not in seen:
        seen += os.read(terminal, 1024)
    return seen


def test_a_terminal_is_raw_for_the_container_and_detaches(shell: Shell, engine: Engine) -> None:
    engine.guest.tty = True
    engine.guest.waits_for_input = True
    engine.guest.output = b"raw\n"
    pid, terminal = in_terminal(shell, "run", "-it", "hello")
    assert read_until(terminal, b"\n") == b"raw\n", "the terminal changed the output"
    os.write(terminal, b"\x03\r\x10a\x10\x11")
    assert b"read escape sequence" in read_until(terminal, b"sequence")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    # The command may be gone before the engine has read all that it sent.
    assert engine.guest.ended.wait(60)
    assert engine.guest.input == b"\x03\r\x10a"
    (create,) = [r for r in shell.daemon.requests if r.path.endswith("/create")]
    assert create.json["Tty"] is True
    assert not [r for r in shell.daemon.requests if r.path.endswith("/kill")]


def test_a_start_that_takes_long_is_explained_at_a_terminal(shell: Shell, engine: Engine) -> None:
    engine.guest.is_let = threading.Event()
    pid, terminal = in_terminal(shell, "run", "-d", "hello")
    assert b"wherry: still starting (a WebAssembly program" in read_until(terminal, b"\n")
    engine.guest.is_let.set()
    assert ID.encode() in read_until(terminal, b"\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_an_engine_that_goes_away_is_told_with_what_to_do(shell: Shell, engine: Engine) -> None:
    def broken_off() -> Iterator[bytes]:
        yield b" "
        engine.guest.ended.wait(60)
        raise ConnectionError("the daemon was killed")

    engine.documents[f"POST /containers/{ID}/wait"] = Answer(200, broken_off())
    done = shell("run", "hello")
    assert done.returncode == 125
    assert done.stderr.decode().splitlines()[-1] == (
        f"wherry: the engine went away, the container goes on; see 'wherry logs -f {ID[:12]}'"
    )


def test_a_module_file_becomes_an_image_once(shell: Shell, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "tool.wasm").write_bytes(b"\0asm\1\0\0\0")
    engine.documents["GET /images/json"] = []
    engine.documents["POST /build"] = Answer(200, b'{"stream":"sha256:abc\\n"}\n')
    done = shell("run", "./tool.wasm", "--flag")
    assert done.returncode == 0, done.stderr
    listing, build, create, *_ = shell.daemon.requests
    assert "io.wherry.module=sha256:" in listing.query["filters"][0]
    assert b'ENTRYPOINT ["/tool.wasm"]' in build.body
    assert build.query["platform"] == ["wasi/wasm"]
    assert (create.json["Image"], create.json["Cmd"]) == ("sha256:abc", ["--flag"])
    shell.daemon.requests.clear()
    engine.documents["GET /images/json"] = [{"Id": "sha256:def"}]
    shell("run", "tool.wasm")
    assert "POST /build" not in shell.daemon.paths()


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("./notes.wasm", b"These are notes.\n", 126, b"not a WebAssembly module"),
        ("./none.wasm", None, 127, b"./none.wasm: no such file"),
    ],
)
def test_a_file_that_cannot_run_is_told(
    shell: Shell, name: str, content: bytes | None, code: int, said: bytes
) -> None:
    if content is not None:
        (shell.folder / name).write_bytes(content)
    done = shell("run", name)
    assert done.returncode == code
    assert said in done.stderr
    assert shell.daemon.requests == []


def test_attach_refuses_what_does_not_run(shell: Shell, engine: Engine) -> None:
    state = {"Running": False, "Paused": False, "Restarting": False}
    engine.documents["GET /containers/web/json"] = {"Id": ID, "State": state, "Config": {}}
    done = shell("attach", "web")
    assert done.returncode == 1
    assert b"wherry start -ai web" in done.stderr


def test_start_attached_ends_like_the_container(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /containers/web/json"] = {
        "Id": ID, "Config": {"Tty": False, "OpenStdin": False}, "HostConfig": {"AutoRemove": True},
    }  # fmt: skip
    engine.guest.output, engine.guest.code = b"again\n", 3
    done = shell("start", "-a", "web")
    assert (done.returncode, done.stdout) == (3, b"again\n")
    (wait,) = [r for r in shell.daemon.requests if r.path.endswith("/wait")]
    assert wait.query == {"condition": ["removed"]}


def test_nobody_there_is_told(shell: Shell) -> None:
    done = shell("-H", "unix:///no/such.sock", "run", "hello")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"/no/such.sock" in done.stderr
