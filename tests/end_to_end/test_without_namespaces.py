"""Where the kernel allows no namespaces at all, containers are held by WASI and seccomp alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.end_to_end.mounted_image import assert_mounted
from tests.engine_under_test import Wherry
from tests.guests.toolchain import EXAMPLES, Guests

pytestmark = pytest.mark.root

_FORBID = 'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-sys_admin "$@"'


@pytest.fixture(scope="module")
def confined() -> Iterator[Wherry]:
    """An engine that may mount nothing and make no namespace."""
    with Wherry() as engine:
        engine.within = ("unshare", "--user", "--map-root-user", "sh", "-c", _FORBID, "sh")
        engine.ok("build", "-t", "hello", EXAMPLES / "hello")
        yield engine


def test_an_image_runs(confined: Wherry) -> None:
    assert confined.ok("run", "--rm", "hello") == "hello from a WebAssembly container"


def test_info_says_what_is_missing(confined: Wherry) -> None:
    info = confined("info")
    assert "no-namespaces" in info.out
    assert "WASI and seccomp alone" in info.err


@pytest.mark.guests
@pytest.mark.parametrize("network", ["bridge", "none"])
def test_a_network_that_cannot_be_had_is_not_the_hosts_instead(
    confined: Wherry, guests: Guests, network: str
) -> None:
    refused = confined.refused(
        "run", "--rm", "--network", network, guests.sockets(), "udp", code=125
    )
    assert "need namespaces" in refused and "--network host" in refused
    assert confined("run", "--rm", "--network", "host", guests.sockets(), "udp").code == 0


def test_the_process_is_confined_all_the_same(confined: Wherry, guests: Guests) -> None:
    confined.ok("run", "-d", "--name", "looping", guests.wat("loop"))
    pid = confined.ok("inspect", "--format", "{{.State.Pid}}", "looping")
    status = Path(f"/proc/{pid}/status").read_text()
    assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    confined.ok("stop", "looping")
    state = confined.ok("inspect", "--format", "{{.State.ExitCode}}", "looping")
    assert state == "143"


def test_what_a_container_wrote_stays_with_it(confined: Wherry, guests: Guests) -> None:
    confined.ok("run", "--name", "first", guests.toolbox(), "put", "/kept", "x")
    assert confined("run", "--rm", guests.toolbox(), "cat", "/kept").code != 0


def test_volumes_are_shared_and_read_only_ones_stay_so(
    confined: Wherry, guests: Guests, tmp_path: Path
) -> None:
    confined.ok("run", "--rm", "-v", f"{tmp_path}:/data", guests.toolbox(), "put", "/data/a", "x")
    assert (tmp_path / "a").read_text() == "x"
    at = f"{tmp_path}:/data:ro"
    assert confined("run", "--rm", "-v", at, guests.toolbox(), "put", "/data/b", "x").code != 0
    assert confined.ok("run", "--rm", "-v", at, guests.toolbox(), "cat", "/data/a") == "x"
    assert not (tmp_path / "b").exists()


def test_parts_of_volumes_can_be_mounted(confined: Wherry, guests: Guests) -> None:
    confined.ok("run", "--rm", "-v", "hold:/v", guests.toolbox(), "mkdir", "/v/in")
    confined.ok("run", "--rm", "-v", "hold:/v", guests.toolbox(), "put", "/v/in/x", "kept")
    part = ("--mount", "type=volume,source=hold,target=/m,volume-subpath=in")
    assert confined.ok("run", "--rm", *part, guests.toolbox(), "cat", "/m/x") == "kept"
    confined.ok("volume", "rm", "hold")


def test_images_can_be_mounted(confined: Wherry, guests: Guests) -> None:
    assert_mounted(confined, guests.toolbox())


def test_a_read_only_root_stays_so(confined: Wherry, guests: Guests) -> None:
    assert confined("run", "--rm", "--read-only", guests.toolbox(), "put", "/a", "x").code != 0


def test_the_working_directory_may_be_a_volume(
    confined: Wherry, guests: Guests, tmp_path: Path
) -> None:
    at = ("-v", f"{tmp_path}:/work", "-w", "/work")
    confined.ok("run", "--rm", *at, guests.toolbox(), "put", "relative", "x")
    assert (tmp_path / "relative").read_text() == "x"


def test_a_memory_limit_holds(confined: Wherry, guests: Guests) -> None:
    ended = confined("run", "--rm", "-m", "32m", guests.wat("grow"))
    assert ended.code != 0
    assert "refused memory" in ended.err


def test_exec_runs_beside_the_container_and_ends_with_it(confined: Wherry, guests: Guests) -> None:
    image = confined.image("toolbox", guests.toolbox())
    identity = confined.ok("run", "-d", image, "sleep", "600")
    confined.ok("exec", identity, "/module.wasm", "put", "/made", "by exec")
    assert confined.ok("exec", identity, "/module.wasm", "cat", "/made") == "by exec"
    assert confined("exec", identity, "/nothing").code == 127
    with confined.background("exec", identity, "/module.wasm", "sleep", "601") as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        lines = [line.split(None, 7) for line in confined.ok("top", identity).splitlines()]
        pid = next(int(line[1]) for line in lines if line[7].endswith("sleep 601"))
        assert "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text()
        confined.ok("stop", identity)
        assert client.wait(60) == 137
    assert not Path(f"/proc/{pid}").exists()
    confined.ok("rm", identity)


def test_health_checks_are_made(confined: Wherry, guests: Guests) -> None:
    image = confined.image("toolbox", guests.toolbox())
    check = ("--health-cmd", '["/module.wasm", "pwd"]', "--health-interval", "20ms")
    identity = confined.ok("run", "-d", *check, image, "sleep", "600")
    watch = ("--filter", f"container={identity}", "--filter", "event=health_status")
    with confined.background("events", "--since", "10m", *watch) as events:
        assert events.stdout is not None
        assert b"health_status: healthy" in events.stdout.readline()
    confined.ok("rm", "-f", identity)
