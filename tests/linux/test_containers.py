"""Linux images run by wherryd: as root and as anybody, by the same words as WebAssembly."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.conftest import without
from tests.engine_under_test import Wherry, until
from tests.images.samples import layer_of, member, tar_of
from tests.linux.image import context
from tests.network.machine import INSIDE, NOBODY, Machine

from wherry.images import ImageStore
from wherry.oci import RootFS, parse_reference

pytestmark = pytest.mark.root

ALONE = ("run", "--rm", "--network", "none")


@pytest.fixture(scope="module", params=[None, NOBODY], ids=["root", "user"])
def engine(request: pytest.FixtureRequest) -> Iterator[Wherry]:
    """An engine in a machine of its own, with the image `linux`."""
    if shutil.which("runc") is None:
        without("runc is not installed")
    with Machine() as machine, Wherry(user=request.param) as wherry:
        wherry.within = machine.within
        wherry.machine = machine  # type: ignore[attr-defined]
        folder = context(wherry.folder / "linux")
        wherry.ok("build", "-q", "--platform", "linux", "-t", "linux", folder)
        yield wherry


@pytest.fixture(autouse=True)
def nothing_left(engine: Wherry) -> Iterator[None]:
    yield
    left = engine.ok("ps", "-aq").split()
    if left:
        engine.ok("rm", "-f", *left)


def test_its_output_input_and_exit_code_arrive(engine: Wherry) -> None:
    assert engine.ok(*ALONE, "linux") == "hello from linux"
    done = engine(*ALONE, "-i", "linux", "sh", "-c", "cat; echo no >&2; exit 7", input="through")
    assert (done.code, done.out, done.err) == (7, "through", "no\n")
    assert engine(*ALONE, "linux", "/nothing").code == 127
    assert engine(*ALONE, "linux", "/etc").code == 126
    assert engine.ok(*ALONE, "-t", "linux", "tty") == "/dev/pts/0\r"


def test_it_is_stopped_by_its_own_signal(engine: Wherry) -> None:
    trap = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    engine.ok("run", "-d", "--name", "polite", "--network", "none", "linux", "sh", "-c", trap)
    until(lambda: "ready" in engine.ok("logs", "polite"), "it never began")
    engine.ok("stop", "polite")
    assert engine.ok("logs", "polite").splitlines() == ["ready", "bye"]
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "polite") == "9"
    engine.ok("run", "-d", "--name", "deaf", "--network", "none", "linux", "sleep", "1000")
    engine.ok("stop", "-t", "0", "deaf")
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "deaf") == "137"


def test_what_is_asked_of_a_running_one(engine: Wherry, tmp_path: Path) -> None:
    engine.ok("run", "-d", "--name", "here", "--network", "none", "linux", "sleep", "1000")
    assert engine.ok("exec", "here", "cat", "/proc/1/cmdline") == "sleep\x001000\x00"
    assert engine("exec", "here", "sh", "-c", "exit 5").code == 5
    assert engine.ok("exec", "-e", "A=b", "-w", "/etc", "here", "sh", "-c", "echo $A $PWD") == (
        "b /etc"
    )
    assert "sleep 1000" in engine.ok("top", "here")
    assert engine.ok("stats", "--no-stream", "--format", "{{.PIDs}}", "here") == "1"
    engine.ok("exec", "here", "sh", "-c", "echo made > /made")
    engine.ok("cp", "here:/made", engine.folder / "made")
    assert (engine.folder / "made").read_text() == "made\n"
    engine.ok("cp", engine.folder / "made", "here:/back")
    assert engine.ok("exec", "here", "cat", "/back") == "made"
    engine.kill_daemon()
    assert engine.ok("exec", "here", "cat", "/back") == "made"


def test_volumes_and_read_only_roots(engine: Wherry) -> None:
    script = "mkdir /data/in && echo kept > /data/in/x"
    engine.ok(*ALONE, "-v", "hold:/data", "linux", "sh", "-c", script)
    assert engine.ok(*ALONE, "-v", "hold:/data:ro", "linux", "cat", "/data/in/x") == "kept"
    part = "type=volume,source=hold,target=/part,volume-subpath=in"
    assert engine.ok(*ALONE, "--mount", part, "linux", "cat", "/part/x") == "kept"
    engine.ok("volume", "rm", "hold")
    script = "echo a > /tmp/a && ! echo b > /b"
    done = engine(*ALONE, "--read-only", "--tmpfs", "/tmp", "linux", "sh", "-c", script)
    assert done.code == 0
    assert "Read-only file system" in done.err
    engine.ok(*ALONE, "linux", "sh", "-c", "test ! -e /b && echo x > /b")


def test_a_health_check_has_a_shell(engine: Wherry) -> None:
    check = ("--health-cmd", "test -f /ok", "--health-interval", "50ms")
    engine.ok(
        *("run", "-d", "--name", "checked", "--network", "none", *check),
        *("linux", "sh", "-c", "touch /ok; sleep 1000"),
    )
    shown = ("inspect", "-f", "{{.State.Health.Status}}", "checked")
    until(lambda: engine.ok(*shown) == "healthy", "it never became healthy")


def test_it_is_restarted(engine: Wherry) -> None:
    restart = ("--restart", "on-failure:2", "--network", "none")
    engine.ok("run", "-d", "--name", "again", *restart, "linux", "sh", "-c", "echo run; exit 4")
    shown = "{{.State.Status}} {{.RestartCount}}"
    until(lambda: engine.ok("inspect", "-f", shown, "again") == "exited 2", "it is not over")
    assert engine.ok("logs", "again").splitlines() == ["run"] * 3


def test_an_init_reaps_orphans(engine: Wherry) -> None:
    told = engine.ok(*ALONE, "--init", "linux", "sh", "-c", "(sleep 0 &); exec ps -o pid,args")
    first = next(line.split() for line in told.splitlines() if line.split()[0] == "1")
    assert first[1:4] == ["/sbin/docker-init", "--", "sh"]
    assert engine(*ALONE, "--init", "linux", "sh", "-c", "exit 6").code == 6


def test_device_nodes_of_an_image_are_no_way_to_the_machines(
    engine: Wherry, tmp_path: Path
) -> None:
    archive = engine.folder / "linux.tar"
    engine.ok("save", "-o", archive, "linux")
    store = ImageStore(tmp_path / "store")
    with open(archive, "rb") as file:
        store.load(file)
    image = store.resolve("linux")
    numbers = {"null": (1, 3), "mem": (1, 1), "port": (1, 4)}
    nodes = [
        member(f"node/{name}", type=tarfile.CHRTYPE, devmajor=one, devminor=two, mode=0o666)
        for name, (one, two) in numbers.items()
    ]
    nodes.append(member("node/disk", type=tarfile.BLKTYPE, devmajor=7, devminor=0, mode=0o666))
    upper = layer_of(store, tar_of(*nodes))
    layers = [*image.manifest.layers, upper.descriptor]
    rootfs = RootFS(diff_ids=[*image.config.rootfs.diff_ids, upper.diff_id])
    config = msgspec.structs.replace(image.config, rootfs=rootfs)
    store.write_image(config, layers, reference=parse_reference("nodes"))
    with open(archive, "wb") as out:
        store.save(["nodes"], out)
    engine.ok("load", "-i", archive)
    each = "for n in null mem port disk; do head -c1 /node/$n; done"
    done = engine(*ALONE, "nodes", "sh", "-c", each)
    said = done.err.splitlines()
    if engine.user is None:
        # As under Docker: what is to be in every container may be used, nothing else.
        refused = [f"head: /node/{n}: Operation not permitted" for n in ("mem", "port", "disk")]
        assert said == refused
        assert "1,   3" in engine.ok(*ALONE, "nodes", "ls", "-l", "/node/null")
    else:
        assert "device node /node/disk and 3 more has been left out" in said[0]
        assert len(said) == 5 and "No such file" in said[1]


def test_a_device_is_given(engine: Wherry) -> None:
    script = "test -c /dev/mine && head -c 3 /dev/mine | wc -c"
    given = ("--device", "/dev/zero:/dev/mine:r")
    assert engine.ok(*ALONE, *given, "linux", "sh", "-c", script) == "3"
    refused = engine.refused(*ALONE, "--device", "/dev/nothing", "linux", "true", code=125)
    assert "there is no such device" in refused


def test_networks_and_published_ports(engine: Wherry) -> None:
    machine = engine.machine  # type: ignore[attr-defined]
    engine.ok("network", "create", "fleet")
    engine.ok(
        *("run", "-d", "--name", "web", "--network", "fleet", "-p", "8090:80"),
        *("linux", "httpd", "-f", "-h", "/etc"),
    )
    answers = ("run", "--rm", "--network", "fleet", "linux", "wget", "-q", "-O", "-")
    until(lambda: engine(*answers, "http://web/group").out.startswith("root:x:0:"), "no answer")
    assert "web:x:1000" in machine.ok("curl", "-sS", f"http://{INSIDE}:8090/group")
    links = engine.ok("run", "--rm", "--network", "host", "linux", "ip", "-o", "link")
    assert "uplink" in links
    assert len(engine.ok(*ALONE, "linux", "ip", "-o", "link").splitlines()) == 1
    engine.ok("rm", "-f", "web")
    engine.ok("network", "rm", "fleet")


def test_what_cannot_be_given_is_said(engine: Wherry) -> None:
    assert "unknown capability" in engine.refused(
        *ALONE, "--cap-add", "FLY", "linux", "true", code=125
    )
    assert "invalid --security-opt" in engine.refused(
        *ALONE, "--security-opt", "magic", "linux", "true", code=125
    )
    limits = ("--memory", "64m", "--pids-limit", "50", "--cpus", "0.5")
    done = engine(*ALONE, *limits, "linux", "true")
    assert done.code == 0, done.said
    if engine.user is not None and "memory" not in _bounded(engine):
        assert "memory limit is discarded" in done.err


def _bounded(engine: Wherry) -> list[str]:
    told = json.loads(engine.ok("info", "--format", "{{json .}}"))
    return ["memory"] if told["MemoryLimit"] else []
