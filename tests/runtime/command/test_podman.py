"""Podman, Buildah and CRI-O's way with conmon, each with `--runtime wherry-runtime`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import peers
from tests.conftest import without
from tests.guests.toolchain import Guests
from tests.runtime.bundles import make_bundle
from tests.runtime.command.conftest import PROGRAM, Runtime, write_config
from tests.runtime.command.test_docker import image

pytestmark = pytest.mark.root


def needed(name: str) -> str:
    try:
        return peers.program(name)
    except peers.PeerMissing as error:
        without(str(error))


@dataclass
class Podman:
    """Podman and Buildah with storage of their own, and the image `tool` in it."""

    storage: list[str]
    environment: dict[str, str]

    def __call__(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        flags = [*self.storage, "--cgroup-manager", "cgroupfs", "--runtime", PROGRAM]
        return self._call([needed("podman"), *flags, *arguments], **options)

    def buildah(self, *arguments: str) -> str:
        result = self._call([needed("buildah"), *self.storage, *arguments])
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def _call(self, argv: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            argv, env=self.environment, capture_output=True, text=True, timeout=100, **options
        )

    def ok(self, *arguments: str, **options: object) -> str:
        result = self(*arguments, **options)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def run(self, *arguments: str, **options: object) -> tuple[int, str, str]:
        result = self("run", "--rm", "--network", "none", *arguments, **options)
        return result.returncode, result.stdout, result.stderr


@pytest.fixture(scope="module")
def podman(guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    needed("podman")
    needed("conmon")
    folder = tmp_path_factory.mktemp("podman")
    storage = ["--root", str(folder / "root"), "--runroot", str(folder / "run")]
    storage += ["--storage-driver", "vfs"]
    engine = Podman(storage, {**os.environ, "WHERRY_ROOT": str(folder / "wherry")})
    (folder / "image.tar").write_bytes(image(guests))
    engine.ok("import", str(folder / "image.tar"), "tool")
    yield engine
    engine("rm", "--all", "--force", "--time", "0")


def test_streams_and_exit_codes_arrive(podman: Podman) -> None:
    assert podman.run("tool", "/toolbox.wasm", "both") == (0, "to stdout\n", "to stderr\n")
    assert podman.run("-i", "tool", "/toolbox.wasm", "cat", input="typed\n")[:2] == (0, "typed\n")
    for code in (0, 1, 124, 200, 255):
        assert podman.run("tool", "/exit.wasm", str(code)) == (code, "", "")
    assert podman.run("tool", "/nothing.wasm")[0] == 127


def test_flags_reach_the_guest(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    assert "A=b" in podman.run("-e", "A=b", "tool", "/environ.wasm")[1]
    volume = f"{tmp_path}:/data:ro"
    read = podman.run("-w", "/data", "-v", volume, "tool", "/toolbox.wasm", "cat", "file")
    assert read == (0, "of the host\n", "")
    assert podman.run("-v", volume, "tool", "/toolbox.wasm", "put", "/data/x", "")[0] != 0
    assert podman.run("--read-only", "tool", "/toolbox.wasm", "pwd")[:2] == (0, "/\n")
    assert podman.run("--read-only", "tool", "/toolbox.wasm", "put", "/x", "")[0] != 0
    assert podman.run("--memory", "64m", "tool", "/toolbox.wasm", "pwd")[:2] == (0, "/\n")
    assert podman.run("-t", "tool", "/toolbox.wasm", "isatty")[:2] == (0, "1 1 1\n")


def test_a_life_from_start_to_removal(podman: Podman) -> None:
    podman.ok("run", "-d", "--name", "life", "--network", "none", "tool", "/wait.wasm")
    assert podman.ok("logs", "life") == "ready\n"
    assert podman.ok("exec", "life", "/toolbox.wasm", "pwd") == "/\n"
    assert podman("exec", "life", "/exit.wasm", "7").returncode == 7
    assert podman("exec", "life", "/nothing.wasm").returncode == 127
    podman.ok("pause", "life")
    assert podman.ok("inspect", "-f", "{{.State.Status}}", "life") == "paused\n"
    podman.ok("unpause", "life")
    podman.ok("restart", "life")
    podman.ok("stop", "--time", "60", "life")
    assert podman.ok("inspect", "-f", "{{.State.ExitCode}}", "life") == "143\n"
    podman.ok("start", "life")
    podman.ok("kill", "life")
    assert podman.ok("wait", "life") == "137\n"
    podman.ok("rm", "life")


def test_buildah_runs_a_step_of_a_build(podman: Podman) -> None:
    working = podman.buildah("from", "--pull-never", "localhost/tool")
    step = ("run", "--isolation", "oci", "--network", "none", "--runtime", PROGRAM)
    assert podman.buildah(*step, working, "/toolbox.wasm", "pwd") == "/"
    podman.buildah(*step, working, "/toolbox.wasm", "put", "/made", "by a step")
    assert podman.buildah(*step, working, "/toolbox.wasm", "cat", "/made") == "by a step"
    podman.buildah("rm", working)


def test_conmon_and_the_calls_of_crio(runtime: Runtime, guests: Guests, tmp_path: Path) -> None:
    """What CRI-O does for a container: conmon creates it; the rest it asks the runtime itself."""
    bundle = make_bundle(tmp_path / "bundle", "/wait.wasm")
    for name, program in (("wait", guests.wasm("wait")), ("toolbox", guests.toolbox())):
        (bundle.path / "rootfs" / f"{name}.wasm").write_bytes(program.read_bytes())
    write_config(bundle)
    exits, log = tmp_path / "exits", tmp_path / "log"
    exits.mkdir()
    answers, answer = os.pipe()
    runtime.made.append("a")
    common = ["-c", "a", "-u", "a", "-n", "name", "-r", PROGRAM]
    common += ["--runtime-arg", f"--root={runtime.root}", "--socket-dir-path", str(tmp_path)]
    conmon = [needed("conmon"), "-b", str(bundle.path), *common, "--exit-dir", str(exits)]
    conmon += ["-l", str(log), "-p", str(tmp_path / "pid"), "-P", str(tmp_path / "conmon-pid")]
    conmon += ["--persist-dir", str(tmp_path), "--log-level", "info"]
    environment = {**runtime.environment, "_OCI_SYNCPIPE": str(answer)}
    subprocess.run(conmon, env=environment, pass_fds=[answer], check=True, timeout=60)
    os.close(answer)
    with open(answers) as told:
        pid = json.loads(told.readline())["pid"]
    assert runtime.state("a")["pid"] == pid

    monitor = int((tmp_path / "conmon-pid").read_text())
    runtime.ok("start", "a")
    assert runtime.status("a") == "running"
    process = tmp_path / "process.json"
    process.write_text(json.dumps({**bundle.config["process"], "args": ["/toolbox.wasm", "pwd"]}))
    assert runtime.ok("exec", "--process", str(process), "a") == "/\n"
    runtime.ok("update", "--resources", "-", "a", input='{"memory":{"limit":67108864}}')
    runtime.ok("pause", "a")
    runtime.ok("resume", "a")
    runtime.ok("kill", "a", "SIGTERM")
    os.waitpid(monitor, 0)  # it was left to us, and ends once it has written the exit code
    assert (exits / "a").read_text() == "143"
    assert "ready" in log.read_text()
    assert runtime.status("a") == "stopped"
    assert "container not running" in runtime("kill", "a", "KILL").stderr
    runtime.ok("delete", "--force", "a")
    runtime.ok("delete", "--force", "a")
