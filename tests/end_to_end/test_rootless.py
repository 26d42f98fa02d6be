"""Everything again as an ordinary user: no root, no daemon of root's, a home of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.accessible import accessible
from tests.conftest import ROOT
from tests.end_to_end.mounted_image import assert_mounted
from tests.engine_under_test import Wherry
from tests.guests.toolchain import EXAMPLES, Guests

pytestmark = pytest.mark.root  # to become another user one must be root

USER = 54321  # nobody's uid, without a line in passwd or in subuid


@pytest.fixture(scope="module")
def user() -> Iterator[Wherry]:
    """An engine of an ordinary user, in a place where the interpreter and wherry can be read."""
    with accessible(Path(sys.base_prefix), ROOT) as holder, Wherry(user=USER) as engine:
        if holder is not None:
            engine.within = ("nsenter", f"--mount=/proc/{holder}/ns/mnt", "--")
        yield engine


@pytest.fixture(scope="module")
def image(user: Wherry, guests: Guests) -> str:
    return user.image("toolbox", guests.toolbox())


def test_the_engine_is_the_users(user: Wherry, image: str) -> None:
    assert Path(f"/proc/{user.daemon_pid()}").stat().st_uid == USER
    assert os.readlink(f"/proc/{user.daemon_pid()}/ns/user") != os.readlink("/proc/self/ns/user")


def test_hello(user: Wherry) -> None:
    user.ok("build", "-q", "-t", "hello", EXAMPLES / "hello")
    assert user.ok("run", "--rm", "hello") == "hello from a WebAssembly container"


def test_the_writable_layer_and_links_work(user: Wherry, image: str) -> None:
    identity = user.ok("create", image, "put", "/made", "text")
    user.ok("start", "-a", identity)
    user.ok("cp", f"{identity}:/made", user.folder / "made")
    assert (user.folder / "made").read_text() == "text"
    user.ok("rm", identity)


def test_bind_mounts_are_the_users_own_files(user: Wherry, image: str) -> None:
    folder = user.folder / "mine"
    folder.mkdir()
    os.chown(folder, USER, USER)
    user.ok("run", "--rm", "-v", f"{folder}:/d", image, "put", "/d/new", "text")
    assert (folder / "new").stat().st_uid == USER


def test_images_can_be_mounted(user: Wherry, image: str) -> None:
    assert_mounted(user, image)


def test_a_guest_cannot_do_what_the_user_cannot(user: Wherry, image: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of root")
    secret.chmod(0o600)
    done = user("run", "--rm", "-v", f"{tmp_path}:/d:ro", image, "cat", "/d/secret")
    assert "of root" not in done.out


def test_volumes_outlive_containers(user: Wherry, image: str) -> None:
    user.ok("run", "--rm", "-v", "hold:/d", image, "put", "/d/x", "kept")
    assert user.ok("run", "--rm", "-v", "hold:/d", image, "cat", "/d/x") == "kept"
    part = ("--mount", "type=volume,source=hold,target=/part,volume-subpath=x")
    assert user.ok("run", "--rm", *part, image, "cat", "/part") == "kept"
    user.ok("volume", "rm", "hold")


def test_layers_of_other_owners_and_deletions_are_kept(
    user: Wherry, image: str, tmp_path: Path
) -> None:
    context = user.folder / "owners"
    context.mkdir()
    (context / "a").write_text("a")
    (context / "Dockerfile").write_text(
        f"FROM {image}\nCOPY --chown=1234:5678 a /a\nCOPY a /b\n"
        'RUN ["/module.wasm", "remove", "/b"]\n'
    )
    user.ok("build", "-q", "-t", "owners", context)
    assert user.ok("run", "--rm", "owners", "cat", "/a") == "a"
    assert "b" not in user.ok("run", "--rm", "owners", "list", "/").split()
    user.ok("save", "-o", user.folder / "owners.tar", "owners")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGKILL", 137)])
def test_signals(user: Wherry, guests: Guests, name: str, code: int) -> None:
    loop = user.image("loop", guests.wat("loop"))
    identity = user.ok("run", "-d", loop)
    user.ok("kill", "-s", name, identity)
    assert user.ok("wait", identity) == str(code)
    user.ok("rm", identity)


def test_the_sandbox_is_as_tight(user: Wherry, image: str) -> None:
    identity = user.ok("run", "-d", image, "sleep", "600")
    status = user.status(identity)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    pid = user.pid(identity)
    for namespace in ("mnt", "pid", "ipc", "uts", "net", "user"):
        assert os.readlink(f"/proc/{pid}/ns/{namespace}") != os.readlink(
            f"/proc/self/ns/{namespace}"
        )
    user.ok("rm", "-f", identity)


def test_exec_and_health_checks(user: Wherry, image: str) -> None:
    check = ("--health-cmd", '["/module.wasm", "pwd"]', "--health-interval", "20ms")
    identity = user.ok("run", "-d", *check, image, "sleep", "600")
    user.ok("exec", identity, "/module.wasm", "put", "/made", "by exec")
    assert user.ok("exec", identity, "/module.wasm", "cat", "/made") == "by exec"
    assert user.ok("exec", "-t", identity, "/module.wasm", "isatty").strip() == "1 1 1"
    user.ok("exec", "-d", identity, "/module.wasm", "sleep", "601")
    lines = [line.split(None, 7) for line in user.ok("top", identity).splitlines()]
    pid = next(int(line[1]) for line in lines if line[7].endswith("sleep 601"))
    status = Path(f"/proc/{pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status and "Seccomp:\t2" in status
    watch = ("--filter", f"container={identity}", "--filter", "event=health_status")
    with user.background("events", "--since", "10m", *watch) as events:
        assert events.stdout is not None
        assert b"health_status: healthy" in events.stdout.readline()
    user.ok("rm", "-f", identity)
    assert not Path(f"/proc/{pid}").exists()


def test_kill_9_of_the_engine_loses_nothing(user: Wherry, image: str) -> None:
    identity = user.ok("run", "-d", image, "tick")
    pid = user.pid(identity)
    user.kill_daemon()
    assert user.pid(identity) == pid
    assert user.ok("run", "--rm", image, "pwd") == "/"
    user.ok("stop", identity)
    assert user.ok("inspect", "-f", "{{.State.ExitCode}}", identity) == "143"
    user.ok("rm", identity)


def test_kill_9_with_nothing_running_loses_nothing(user: Wherry, image: str) -> None:
    user.ok("container", "prune", "-f")
    user.kill_daemon()
    assert user.ok("run", "--rm", image, "pwd") == "/"


def test_a_memory_limit_holds_without_cgroups(user: Wherry, guests: Guests) -> None:
    done = user("run", "--rm", "-m", "32m", guests.wat("grow"))
    assert done.code == 134
    assert "memory" in done.err.splitlines()[-1]


def test_limits_that_nothing_holds_are_told(user: Wherry, image: str) -> None:
    told = {"MemoryLimit": "-m=64m", "CpuCfsQuota": "--cpus=0.5", "PidsLimit": "--pids-limit=9"}
    for capability, flag in told.items():
        bounded = user.ok("info", "--format", f"{{{{.{capability}}}}}")
        done = user("run", "--rm", flag, image, "pwd")
        assert done.out == "/\n"
        assert ("no cgroup for it" in done.err) is (bounded == "false"), (capability, done.err)


def test_the_check_and_the_count_hold_for_what_a_user_keeps(user: Wherry, image: str) -> None:
    user.ok("run", "--rm", image, "pwd")
    assert user.ok("system", "check") == "Everything is as it must be."
    du = subprocess.run(["du", "-sB1", user.root], capture_output=True, text=True, check=True)
    assert f"({du.stdout.split()[0]} bytes" in user.ok("system", "df", "-v")
