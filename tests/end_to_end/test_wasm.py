"""What guests can do: WASI 0.1, the proposals the engine has, text modules, components."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests


@pytest.mark.parametrize(
    "feature",
    ["simd", "bulk-memory", "tail-calls", "exceptions", "gc", "memory64", "shared-memory"],
)
def test_proposal_works(wherry: Wherry, guests: Guests, feature: str) -> None:
    assert wherry.ok("run", "--rm", guests.wat(f"feature-{feature}")) == "ok"


def test_text_and_binary_do_the_same(wherry: Wherry, guests: Guests) -> None:
    text = wherry.ok("run", "--rm", guests.wat("environ"), "x")
    binary = wherry.ok("run", "--rm", guests.wasm("environ"), "x")
    assert text.splitlines()[1] == binary.splitlines()[1] == "x"


def test_clocks_tell_the_hosts_time(wherry: Wherry, toolbox: str) -> None:
    before = int(time.time())
    seconds, direction = wherry.ok("run", "--rm", toolbox, "clocks").split()
    assert before <= int(seconds) <= int(time.time())
    assert direction == "forward"


def test_random_is_not_the_same_twice(wherry: Wherry, toolbox: str) -> None:
    first = wherry.ok("run", "--rm", toolbox, "random")
    assert len(first) == 32
    assert first != wherry.ok("run", "--rm", toolbox, "random")


def test_files_in_the_writable_layer_live_as_long_as_the_container(
    wherry: Wherry, toolbox: str
) -> None:
    identity = wherry.ok("create", toolbox, "append", "/log", "once,")
    wherry.ok("start", "-a", identity)
    wherry.ok("start", "-a", identity)
    wherry.ok("cp", f"{identity}:/log", "log")
    assert (wherry.folder / "log").read_text() == "once,once,"
    wherry.ok("rm", identity)
    assert wherry.ok("run", "--rm", toolbox, "list", "/").splitlines().count("log") == 0


def test_folders_links_and_renames(wherry: Wherry, toolbox: str, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        return wherry.ok("run", "--rm", "-v", f"{tmp_path}:/d", toolbox, *words)

    run("mkdir", "/d/sub")
    run("put", "/d/sub/a", "text")
    run("rename", "/d/sub/a", "/d/b")
    run("symlink", "b", "/d/link")
    assert run("cat", "/d/link") == "text"
    assert run("stat", "/d/link").split()[0] == "link"
    run("rmdir", "/d/sub")
    run("remove", "/d/link")
    assert run("list", "/d").split() == ["b"]
    assert (tmp_path / "b").read_text() == "text"


def test_read_only_root_refuses_writes(wherry: Wherry, toolbox: str) -> None:
    done = wherry("run", "--rm", "--read-only", toolbox, "put", "/new", "text")
    assert done.code != 0
    assert "/new" in done.err


@pytest.mark.guests
def test_component_runs_with_arguments_environment_and_stdin(
    wherry: Wherry, guests: Guests
) -> None:
    module = guests.component() / "app.wasm"
    # It imports sockets, as all of Python's do: without this the machine itself got a bridge.
    run = ("run", "--rm", "--network", "none")
    out = wherry.ok(*run, "-e", "GREETING=ahoy", module, "a")
    assert out.startswith("ahoy from a component, ['a']")
    assert wherry.ok(*run, "-i", module, "cat", input="through") == "through"
    assert wherry(*run, module, "fail").code == 1
