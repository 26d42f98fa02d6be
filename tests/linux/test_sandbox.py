"""What holds a Linux program: as tight as Docker's defaults, compared with the real one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import peers
from tests.conftest import without
from tests.engine_under_test import Wherry
from tests.linux.image import context, probe
from tests.network.machine import NOBODY, Machine

from wherry.engine.linux.sandbox import MASKED_PATHS, READONLY_PATHS

pytestmark = pytest.mark.root

ALONE = ("run", "--rm", "--network", "none")
STATUS = ("grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)", "/proc/self/status")
REFUSED = frozenset({"EPERM", "ENOSYS"})
LOOSER_IN_DOCKER = frozenset({"io_uring_setup", "socket"})
"""Docker 20.10 allows them (the second with AF_VSOCK); later ones do not."""


@pytest.fixture(scope="module", params=[None, NOBODY], ids=["root", "user"])
def engine(request: pytest.FixtureRequest) -> Iterator[Wherry]:
    """An engine with the image `linux`, in which is the program that asks the kernel."""
    if shutil.which("runc") is None:
        without("runc is not installed")
    with Machine() as machine, Wherry(user=request.param) as wherry:
        wherry.within = machine.within
        folder = context(wherry.folder / "linux")
        shutil.copy(probe(folder), folder / "bin")
        wherry.ok("build", "-q", "--platform", "linux", "-t", "linux", folder)
        yield wherry


def asked(output: str) -> dict[str, str]:
    """What became of each system call."""
    found: dict[str, str] = {}
    for number, line in enumerate(output.splitlines()):
        name, result = line.split()
        found[f"{number} {name}"] = result
    return found


def capabilities(engine: Wherry, *flags: str) -> dict[str, int]:
    told = engine.ok(*ALONE, *flags, "linux", *STATUS)
    return {name: int(value, 16) for name, value in re.findall(r"^(Cap\w+):\s*(\w+)", told, re.M)}


def test_system_calls_that_reach_beyond_a_container_are_refused(engine: Wherry) -> None:
    found = asked(engine.ok(*ALONE, "linux", "probe"))
    refused = {key.split()[1] for key, result in found.items() if result in REFUSED}
    assert refused >= {
        "add_key", "keyctl", "request_key", "bpf", "perf_event_open", "userfaultfd", "kexec_load",
        "init_module", "open_by_handle_at", "mount", "umount2", "move_mount", "fsopen", "setns",
        "unshare", "pivot_root", "swapon", "reboot", "settimeofday", "clock_settime", "quotactl",
        "syslog", "clone", "clone3", "socket", "io_uring_setup", "kcmp",
    }  # fmt: skip
    assert refused.isdisjoint({"memfd_create", "statx", "openat2", "chroot", "ptrace"})
    # Only what changes nothing for others may be asked of personality.
    of_personality = [result for key, result in found.items() if "personality" in key]
    assert of_personality == ["EPERM", "ok"]


def test_a_capability_brings_its_system_calls(engine: Wherry) -> None:
    found = asked(engine.ok(*ALONE, "--cap-add", "SYS_ADMIN", "linux", "probe"))
    by_name = {key.split()[1]: result for key, result in found.items()}
    assert by_name["mount"] == "EFAULT"
    assert by_name["clone3"] == "EINVAL"
    assert by_name["keyctl"] in REFUSED
    loose = asked(engine.ok(*ALONE, "--security-opt", "seccomp=unconfined", "linux", "probe"))
    assert {key.split()[1]: result for key, result in loose.items()}["add_key"] == "EFAULT"


def test_a_profile_of_ones_own(engine: Wherry) -> None:
    wrong, symlinks = {"action": "SCMP_ACT_ERRNO", "errnoRet": 71}, ["symlink", "symlinkat"]
    rules = [
        {"names": ["mkdir", "mkdirat"], **wrong},
        {"names": symlinks, **wrong, "includes": {"caps": ["CAP_SYS_ADMIN"]}},
    ]
    profile = engine.folder / "profile.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    flags = ("--security-opt", f"seccomp={profile}")
    done = engine(*ALONE, *flags, "linux", "sh", "-c", "ln -s a /b && mkdir /made")
    assert done.err == "mkdir: can't create directory '/made': Protocol error\n"
    profile.write_text('{"syscalls": 5}')
    assert "seccomp profile" in engine.refused(*ALONE, *flags, "linux", "true", code=125)


def test_capabilities_are_dockers_and_as_asked_for(engine: Wherry) -> None:
    default = 0xA80425FB
    found = capabilities(engine)
    assert found == {
        "CapInh": 0, "CapPrm": default, "CapEff": default, "CapBnd": default, "CapAmb": 0
    }  # fmt: skip
    assert capabilities(engine, "--cap-drop", "ALL", "--cap-add", "chown")["CapEff"] == 1
    assert capabilities(engine, "--cap-add", "CAP_NET_ADMIN")["CapEff"] == default | 1 << 12
    if engine.user is None:
        found = capabilities(engine, "-u", "web")
        assert (found["CapEff"], found["CapBnd"]) == (0, default)
    told = engine.ok(*ALONE, "--security-opt", "no-new-privileges", "linux", *STATUS)
    assert "NoNewPrivs:\t1" in told
    assert "Seccomp:\t2" in told


def test_the_hosts_kernel_is_neither_shown_nor_set(engine: Wherry) -> None:
    script = "\n".join(
        [f"head -c 1 {path} 2>/dev/null; ls -A {path} 2>/dev/null" for path in MASKED_PATHS]
        + [f"touch {path}/x 2>/dev/null && echo writable" for path in READONLY_PATHS]
        + ["mount | grep -c ' /sys type sysfs (ro'"]
    )
    told = engine.ok(*ALONE, "linux", "sh", "-c", script).splitlines()
    assert [line for line in told if line not in MASKED_PATHS] == ["1"]


def test_its_namespaces_and_devices_are_its_own(engine: Wherry) -> None:
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
    script = "for n in " + " ".join(kinds) + "; do readlink /proc/self/ns/$n; done"
    own = engine.ok(*ALONE, "linux", "sh", "-c", script).splitlines()
    hosts = {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds}
    assert len(own) == len(kinds)
    assert hosts.isdisjoint(own)
    devices = set(engine.ok(*ALONE, "linux", "ls", "/dev").split())
    assert devices <= {
        "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm",
        "stderr", "stdin", "stdout", "tty", "urandom", "zero",
    }  # fmt: skip


def test_a_privileged_one_is_held_by_its_namespaces_alone(engine: Wherry) -> None:
    told = engine.ok(*ALONE, "--privileged", "linux", *STATUS)
    assert "Seccomp:\t0" in told
    found = capabilities(engine, "--privileged")
    assert found["CapEff"] & 1 << 21
    assert found["CapEff"] == found["CapBnd"]
    mounts = engine.ok(*ALONE, "--privileged", "linux", "mount")
    assert " /sys type sysfs (rw" in mounts
    assert " on /proc/sys " not in mounts


@pytest.mark.dockerd
@pytest.mark.parametrize("engine", [None], indirect=True, ids=["root"])
def test_it_is_no_looser_than_under_docker(engine: Wherry) -> None:
    with peers.dockerd() as docker:
        archive = subprocess.run(
            ["tar", "-C", engine.folder / "linux", "-c", "bin", "etc"], capture_output=True
        ).stdout
        subprocess.run(docker.argv("import", "-", "linux"), input=archive, check=True)

        def run(*words: str) -> str:
            done = docker.docker("run", "--rm", "--network", "none", "linux", *words)
            assert done.returncode == 0, done.stderr
            return str(done.stdout)

        theirs, ours = asked(run("/bin/probe")), asked(engine.ok(*ALONE, "linux", "probe"))
        assert theirs.keys() == ours.keys()
        looser = [
            key for key, result in theirs.items() if result in REFUSED and ours[key] not in REFUSED
        ]
        assert looser == []
        # Nor is it tighter, so that what runs there runs here.
        tighter = {
            key.split()[1]
            for key, result in ours.items()
            if result in REFUSED and theirs[key] not in REFUSED
        }
        assert tighter <= LOOSER_IN_DOCKER
        status = engine.ok(*ALONE, "linux", *STATUS)
        assert run("/bin/" + STATUS[0], *STATUS[1:]).strip() == status
