"""The sandbox around a guest, looked at from inside and from the host."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def idle(wherry: Wherry, guests: Guests) -> Iterator[str]:
    """A running container with limits."""
    image = wherry.image("wait", guests.wat("wait"))
    identity = wherry.ok(
        "run", "-d", "-m", "64m", "--cpus", "0.5", "--pids-limit", "16",
        "--ulimit", "nofile=123:456", image,
    )  # fmt: skip
    yield identity
    wherry.ok("rm", "-f", identity)


@pytest.mark.parametrize("namespace", ["mnt", "pid", "ipc", "uts", "net"])
def test_it_has_a_namespace_of_its_own(wherry: Wherry, idle: str, namespace: str) -> None:
    inside = os.readlink(f"/proc/{wherry.pid(idle)}/ns/{namespace}")
    assert inside != os.readlink(f"/proc/self/ns/{namespace}")


@pytest.mark.parametrize("kind", ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
def test_it_has_no_capability(wherry: Wherry, idle: str, kind: str) -> None:
    assert int(wherry.status(idle)[kind], 16) == 0


def test_it_can_gain_no_privilege_and_is_filtered(wherry: Wherry, idle: str) -> None:
    status = wherry.status(idle)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_it_is_the_only_process_it_can_see(wherry: Wherry, idle: str) -> None:
    assert wherry.status(idle)["NSpid"].split()[-1] == "1"


def test_it_holds_only_what_it_was_given(wherry: Wherry, idle: str) -> None:
    """One socket to its shim, its compiled code to read, and nothing of the store."""
    process = Path(f"/proc/{wherry.pid(idle)}")
    targets = {entry.name: os.readlink(entry) for entry in (process / "fd").iterdir()}
    assert sum(target.startswith("socket:") for target in targets.values()) <= 1, targets
    for number, target in targets.items():
        if target.startswith(str(wherry.root)) and "/containers/" not in target:
            assert target.startswith(f"{wherry.root}/cache/"), targets
            flags = re.search(r"^flags:\s*(\d+)", (process / "fdinfo" / number).read_text(), re.M)
            assert flags and int(flags[1], 8) & os.O_ACCMODE == os.O_RDONLY


def test_its_root_is_the_containers(wherry: Wherry, idle: str) -> None:
    root = Path(f"/proc/{wherry.pid(idle)}/root")
    assert (root / "module.wat").exists()
    assert not (root / "usr").exists()
    mounts = Path(f"/proc/{wherry.pid(idle)}/mountinfo").read_text()
    assert str(Path.home()) not in re.findall(r"^\S+ \S+ \S+ \S+ (\S+)", mounts, re.MULTILINE)
    assert "old" not in mounts.split()


def test_a_module_without_sockets_has_no_network(wherry: Wherry, idle: str) -> None:
    lines = Path(f"/proc/{wherry.pid(idle)}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] in ([], ["lo"])
    routes = Path(f"/proc/{wherry.pid(idle)}/net/route").read_text().splitlines()[1:]
    assert routes == []


def test_it_has_the_limits_asked_for(wherry: Wherry, idle: str) -> None:
    limits = Path(f"/proc/{wherry.pid(idle)}/limits").read_text()
    assert re.search(r"Max open files\s+123\s+456", limits)


def cgroup_file(pid: int, controller: str, v1: str, v2: str) -> str:
    """The content of a limit of a process' cgroup, on a v1 or a v2 host."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}/{v1}").read_text().strip()
        if number == "0" and Path(f"/sys/fs/cgroup{path}/{v2}").exists():
            return Path(f"/sys/fs/cgroup{path}/{v2}").read_text().strip()
    raise AssertionError(f"process {pid} is in no cgroup with {controller}")


def test_its_cgroup_bounds_memory_cpu_and_processes(wherry: Wherry, idle: str) -> None:
    pid = wherry.pid(idle)
    memory = int(cgroup_file(pid, "memory", "memory.limit_in_bytes", "memory.max"))
    assert memory >= 64 << 20, "the engine's own share comes on top of the guest's"
    assert memory <= 256 << 20
    quota = cgroup_file(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")
    assert int(quota.split()[0]) == 50_000
    assert int(cgroup_file(pid, "pids", "pids.max", "pids.max")) >= 16


def test_its_cgroup_goes_with_it(wherry: Wherry, guests: Guests) -> None:
    image = wherry.image("wait", guests.wat("wait"))
    identity = wherry.ok("run", "-d", image)
    pid = wherry.pid(identity)
    paths = [line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    own = {path for path in paths if identity in path}
    assert own
    wherry.ok("rm", "-f", identity)
    left = [str(found) for path in own for found in Path("/sys/fs/cgroup").glob(f"*{path}")]
    assert left == []


def test_nothing_is_left_mounted_on_the_host(wherry: Wherry, idle: str) -> None:
    assert str(wherry.root / "containers") not in Path("/proc/self/mountinfo").read_text()


def test_the_guest_sees_its_own_root_only(wherry: Wherry, toolbox: str) -> None:
    names = wherry.ok("run", "--rm", toolbox, "list", "/").split()
    assert "module.wasm" in names
    assert not {"usr", "home", "root", "lib", "bin"} & set(names)


@pytest.mark.parametrize(
    "path",
    ["/proc/1/environ", "/proc/self/environ", "/proc/1/root/etc/passwd", "/proc/sysrq-trigger"],
)
def test_the_guest_cannot_read_the_engines_process(wherry: Wherry, toolbox: str, path: str) -> None:
    done = wherry("run", "--rm", toolbox, "cat", path)
    assert str(wherry.root) not in done.out
    assert "root:x:" not in done.out


def test_the_guest_cannot_write_to_the_kernels_files(wherry: Wherry, toolbox: str) -> None:
    for path in ("/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/kernel/mm/ksm/run"):
        assert wherry("run", "--rm", toolbox, "put", path, "1").code != 0


def test_a_read_only_image_file_is_not_changed_by_a_container(wherry: Wherry, toolbox: str) -> None:
    done = wherry("run", "--rm", toolbox, "put", "/module.wasm", "overwritten")
    assert wherry.ok("run", "--rm", toolbox, "pwd"), done.said


def test_memory_of_a_guest_is_bounded_for_all_its_memories(
    wherry: Wherry, guests: Guests, tmp_path: Path
) -> None:
    memories = "\n".join(f"(memory $m{n} 1)" for n in range(20))
    grows = "\n".join(
        f"(if (i32.eq (memory.grow $m{n} (i32.const 160)) (i32.const -1)) (then unreachable))"
        for n in range(20)
    )
    module = f'(module (memory (export "memory") 1) {memories} (func (export "_start") {grows}))'
    (tmp_path / "many.wat").write_text(module)
    done = wherry("run", "--rm", "-m", "64m", tmp_path / "many.wat")
    assert done.code in (134, 137), done.said
