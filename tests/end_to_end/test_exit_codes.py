"""The exit code of `wherry run` tells what happened, in Docker's numbers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests


@pytest.fixture
def waiting(wherry: Wherry, guests: Guests, request: pytest.FixtureRequest) -> Iterator[str]:
    """A running container that computes (`loop`) or waits in the host (`wait`)."""
    image = wherry.image(request.param, guests.wat(request.param))
    identity = wherry.ok("run", "-d", image)
    yield identity
    wherry.ok("rm", "-f", identity)


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_guests_own(wherry: Wherry, guests: Guests, code: int) -> None:
    assert wherry("run", "--rm", guests.wat("exit"), str(code)).code == code


@pytest.mark.parametrize("waiting", ["loop", "wait"], indirect=True)
@pytest.mark.parametrize(
    ("name", "code"),
    [("SIGTERM", 143), ("SIGINT", 130), ("SIGKILL", 137), ("HUP", 129), ("15", 143)],
)
def test_a_signal_ends_a_guest_at_once(wherry: Wherry, waiting: str, name: str, code: int) -> None:
    wherry.ok("kill", "-s", name, waiting)
    assert wherry.ok("wait", waiting) == str(code)
    assert wherry.ok("inspect", "-f", "{{.State.ExitCode}}", waiting) == str(code)


@pytest.mark.parametrize("waiting", ["loop", "wait"], indirect=True)
def test_stop_needs_no_grace_period(wherry: Wherry, waiting: str) -> None:
    wherry.ok("stop", "-t", "600", waiting)  # the test's own limit is shorter
    assert wherry.ok("inspect", "-f", "{{.State.ExitCode}}", waiting) == "143"


@pytest.mark.parametrize("waiting", ["loop"], indirect=True)
def test_a_signal_sent_to_the_process_itself_is_reported(wherry: Wherry, waiting: str) -> None:
    os.kill(wherry.pid(waiting), signal.SIGKILL)
    assert wherry.ok("wait", waiting) == "137"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_to_the_foreground_command_reach_the_guest(
    wherry: Wherry, guests: Guests, number: signal.Signals, code: int
) -> None:
    with wherry.background("run", "--rm", guests.wat("loop")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"looping\n"
        process.send_signal(number)
        assert process.wait(60) == code


def test_a_trap_is_134_with_a_backtrace_of_function_names(wherry: Wherry, guests: Guests) -> None:
    done = wherry("run", "--rm", guests.wat("trap"))
    assert done.code == 134
    assert "integer divide by zero" in done.err
    assert done.err.index("divide") < done.err.index("average") < done.err.index("main")
    assert "Traceback" not in done.err


def test_a_trap_names_source_lines_where_the_module_has_them(
    wherry: Wherry, guests: Guests
) -> None:
    done = wherry("run", "--rm", guests.c("crash", "-g", "-O2"))
    assert done.code == 134
    assert done.err.startswith("about to crash\n")
    assert "crash.c:8" in done.err
    assert "hit_the_rock" in done.err


def test_a_trap_is_in_the_log_too(wherry: Wherry, guests: Guests) -> None:
    identity = wherry.ok("run", "-d", wherry.image("trap", guests.wat("trap")))
    assert wherry.ok("wait", identity) == "134"
    assert "divide" in wherry("logs", identity).err
    wherry.ok("rm", identity)


def test_a_timeout_is_124_and_says_so(wherry: Wherry, guests: Guests) -> None:
    done = wherry("run", "--rm", "--timeout", "0.5", guests.wat("loop"))
    assert done.code == 124
    assert "0.5" in done.err


def test_a_timeout_not_reached_changes_nothing(wherry: Wherry, guests: Guests) -> None:
    assert wherry("run", "--rm", "--timeout", "60", guests.wat("exit"), "3").code == 3


def test_a_missing_entrypoint_is_127(wherry: Wherry, guests: Guests) -> None:
    image = wherry.image("exits", guests.wat("exit"))
    message = wherry.refused("run", "--rm", "--entrypoint", "/nosuch.wasm", image, code=127)
    assert "/nosuch.wasm" in message


def test_a_file_that_is_not_wasm_is_126(wherry: Wherry, guests: Guests, tmp_path: Path) -> None:
    (tmp_path / "notes.wasm").write_text("These are notes, not a module.\n")
    (tmp_path / "Dockerfile").write_text(
        'FROM scratch\nCOPY notes.wasm /notes.wasm\nENTRYPOINT ["/notes.wasm"]\n'
    )
    wherry.ok("build", "-q", "-t", "notes", tmp_path)
    assert "notes.wasm" in wherry.refused("run", "--rm", "notes", code=126)


def test_an_unknown_image_is_125(wherry: Wherry) -> None:
    # Nobody listens at that port of this machine.
    name = "127.0.0.1:1/nosuch"
    assert "nosuch" in wherry.refused("run", "--rm", name, code=125)
    assert "nosuch" in wherry.refused("run", "--rm", "--pull", "never", "nosuch", code=125)


def test_an_unknown_flag_is_125(wherry: Wherry) -> None:
    assert wherry("run", "--no-such-flag", "hello").code == 125


@pytest.mark.parametrize("guest", ["grow"])
def test_a_guest_that_dies_of_refused_memory_is_told_so(
    wherry: Wherry, guests: Guests, guest: str
) -> None:
    done = wherry("run", "--rm", "-m", "32m", guests.wat(guest))
    assert done.code == 134
    assert "memory" in done.err
    assert "limit" in done.err, done.err


def test_a_guest_that_copes_with_refused_memory_ends_well(wherry: Wherry, guests: Guests) -> None:
    done = wherry("run", "--rm", "-m", "64m", guests.wat("growback"))
    assert (done.code, done.err) == (0, "")
