"""Cgroups: real ones of v1, the bare v2 of a hybrid host, and v2 as a folder of files."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import without

from wherry.oci.runtime import Cpu, Memory, Pids, Resources
from wherry.runtime.sandbox.cgroups import Cgroup, CgroupError, Hierarchies, plain_path
from wherry.runtime.sandbox.cgroups.hierarchies import of_this_process
from wherry.runtime.sandbox.cgroups.unified import UnifiedCgroup, weight_of_shares

MIB = 1 << 20


@pytest.mark.parametrize(
    ("cgroups_path", "plain"),
    [
        ("/docker/0a1b", "/docker/0a1b"),
        ("wherry/0a1b", "/wherry/0a1b"),
        ("//a/./b/", "/a/b"),
        ("system.slice:docker:0a1b", "/system.slice/docker-0a1b.scope"),
        (":docker:0a1b", "/system.slice/docker-0a1b.scope"),
        ("user.slice::box", "/user.slice/box.scope"),
        (
            "kubepods-burstable-pod1.slice:cri-containerd:0a1b",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice"
            "/cri-containerd-0a1b.scope",
        ),
        ("-.slice:x:y", "/x-y.scope"),
        ("a.slice:x:b.slice", "/a.slice/b.slice"),
    ],
)
def test_a_cgroups_path_becomes_a_plain_path(cgroups_path: str, plain: str) -> None:
    assert plain_path(cgroups_path) == plain


@pytest.mark.parametrize("path", ["", "/", "/a/../../b", "..", "/a\0b", "/" + "a" * 5000])
def test_a_path_that_names_no_cgroup_is_refused(path: str) -> None:
    with pytest.raises(CgroupError, match="does not name a cgroup"):
        plain_path(path)


def test_mounts_are_found_with_their_controllers_and_our_place_in_them() -> None:
    mountinfo = (
        "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "31 23 0:27 /docker/x /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
        "32 23 0:28 / /odd\\040place shared:1 - cgroup memory rw,memory\n"
        "33 23 0:29 / /proc rw - proc proc rw\n"
    )
    cgroup = "3:memory:/a\n2:cpu,cpuacct:/docker/x/inner\n0::/user.slice/b\n"
    found = Hierarchies.parse(mountinfo, cgroup)
    assert found.unified == "/sys/fs/cgroup/unified"
    assert found.legacy == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/odd place",
    }
    assert found.own == {"memory": "/a", "cpu": "/inner", "cpuacct": "/inner", "": "/user.slice/b"}


@pytest.mark.parametrize(
    ("shares", "weight"), [(2, 1), (1024, 100), (262144, 10000), (512, 59), (1 << 40, 10000)]
)
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert weight_of_shares(shares) == weight


def test_more_shares_are_never_less_weight() -> None:
    weights = [weight_of_shares(shares) for shares in range(2, 262145, 101)]
    assert weights == sorted(weights)


# --- v2, as files -------------------------------------------------------------------------------


def add_files(folder: Path, controllers: str) -> None:
    """Put into a folder what the kernel would put into a new cgroup."""
    files = {
        "cgroup.controllers": controllers,
        "cgroup.subtree_control": "",
        "cgroup.procs": "",
        "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\n"
        "nr_periods 4\nnr_throttled 2\nthrottled_usec 7\n",
    }
    if "memory" in controllers:
        files |= {
            "memory.current": "4096",
            "memory.max": "max",
            "memory.swap.max": "max",
            "memory.low": "0",
            "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n",
            "memory.stat": "anon 1\nfile 2\ninactive_file 1024\n",
        }
    if "pids" in controllers:
        files |= {"pids.current": "2", "pids.max": "max"}
    if "cpu" in controllers:
        files |= {"cpu.max": "max 100000", "cpu.weight": "100"}
    if "cpuset" in controllers:
        files |= {"cpuset.cpus": "", "cpuset.mems": ""}
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


@pytest.fixture
def unified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hierarchies:
    """A v2 mount whose folders fill as the kernel's do, with memory, pids, cpu and cpuset."""
    add_files(tmp_path, "cpuset cpu memory pids")
    real = os.mkdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        real(path, mode)
        add_files(Path(path), "cpuset cpu memory pids")

    monkeypatch.setattr(os, "mkdir", mkdir)
    return Hierarchies(str(tmp_path), {}, {"": "/"})


def test_v2_limits_are_converted_and_written(unified: Hierarchies, tmp_path: Path) -> None:
    resources = Resources(
        memory=Memory(limit=64 * MIB, swap=96 * MIB, reservation=32 * MIB),
        cpu=Cpu(shares=1024, quota=50_000, period=200_000, cpus="0-1", mems="0"),
        pids=Pids(limit=20),
        unified={"memory.high": str(48 * MIB)},
    )
    (tmp_path / "a").mkdir()
    group = Cgroup.create("/a/b", None, unified)
    (tmp_path / "a/b/memory.high").write_text("max")
    group.update(resources)
    files = {
        name: (tmp_path / "a/b" / name).read_text()
        for name in (
            *("memory.max", "memory.swap.max", "memory.low", "memory.high", "cpu.max"),
            *("cpu.weight", "cpuset.cpus", "cpuset.mems", "pids.max"),
        )
    }
    assert files == {
        "memory.max": str(64 * MIB),
        "memory.swap.max": str(32 * MIB),
        "memory.low": str(32 * MIB),
        "memory.high": str(48 * MIB),
        "cpu.max": "50000 200000",
        "cpu.weight": "100",
        "cpuset.cpus": "0-1",
        "cpuset.mems": "0",
        "pids.max": "20",
    }
    assert group.missing == []


def test_v2_no_limit_is_max(unified: Hierarchies, tmp_path: Path) -> None:
    group = Cgroup.create("/a", None, unified)
    group.update(Resources(cpu=Cpu(quota=50_000, period=100_000)))
    group.update(Resources(memory=Memory(limit=-1), pids=Pids(limit=-1), cpu=Cpu(quota=-1)))
    assert (tmp_path / "a/memory.max").read_text() == "max"
    assert (tmp_path / "a/pids.max").read_text() == "max"
    assert (tmp_path / "a/cpu.max").read_text() == "max 100000"


def test_v2_statistics_are_in_bytes_and_nanoseconds(unified: Hierarchies, tmp_path: Path) -> None:
    group = Cgroup.create("/a", None, unified)
    (tmp_path / "a/memory.max").write_text("8192")
    stats = group.stats()
    assert (stats.memory_usage, stats.memory_limit, stats.memory_failcnt) == (4096, 8192, 3)
    assert (stats.oom_kills, stats.memory_inactive_file) == (1, 1024)
    assert (stats.cpu_total, stats.cpu_user, stats.cpu_kernel) == (30_000, 20_000, 10_000)
    assert (stats.throttle_periods, stats.throttled_periods) == (4, 2)
    assert stats.throttled_time == 7_000
    assert (stats.pids_current, stats.pids_limit) == (2, None)


def test_v2_controllers_are_enabled_from_the_top_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_files(tmp_path, "memory pids")
    real = os.mkdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        real(path, mode)
        add_files(Path(path), "")

    monkeypatch.setattr(os, "mkdir", mkdir)
    Cgroup.create("/a/b", None, Hierarchies(str(tmp_path), {}, {"": "/"}))
    # A folder of files keeps what was last written; the kernel enables both.
    assert (tmp_path / "cgroup.subtree_control").read_text().strip() in ("+memory", "+pids")
    assert not (tmp_path / "a/b/cgroup.subtree_control").read_text().strip()


def test_v2_a_limit_without_its_controller_is_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_files(tmp_path, "pids")
    real = os.mkdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        real(path, mode)
        add_files(Path(path), "pids")

    monkeypatch.setattr(os, "mkdir", mkdir)
    group = Cgroup.create(
        "/a",
        Resources(memory=Memory(limit=MIB), pids=Pids(limit=3)),
        Hierarchies(str(tmp_path), {}, {"": "/"}),
    )
    assert group.missing == ["memory limit: this host has no memory controller"]
    assert (tmp_path / "a/pids.max").read_text() == "3"


def test_v2_a_limit_below_what_is_used_is_refused(unified: Hierarchies) -> None:
    group = Cgroup.create("/a", None, unified)
    with pytest.raises(CgroupError, match="the container uses 4096 now"):
        group.update(Resources(memory=Memory(limit=2048)))


def test_v2_swap_less_than_memory_is_refused(unified: Hierarchies) -> None:
    group = Cgroup.create("/a", None, unified)
    with pytest.raises(CgroupError, match="less than the memory limit"):
        group.update(Resources(memory=Memory(limit=2 * MIB, swap=MIB)))


@pytest.mark.parametrize("name", ["../memory.max", "cgroup.procs", "memory/max", "memory", ""])
def test_v2_unified_settings_name_files_of_controllers_only(
    unified: Hierarchies, name: str
) -> None:
    group = Cgroup.create("/a", None, unified)
    with pytest.raises(CgroupError, match="does not name a controller's file"):
        group.update(Resources(unified={name: "1"}))


def test_the_delegated_group_above_us_is_used_where_the_root_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_files(tmp_path, "memory pids")
    delegated = tmp_path / "user.slice/user@1.service"
    (delegated / "app.slice").mkdir(parents=True)
    for folder in (tmp_path / "user.slice", delegated, delegated / "app.slice"):
        add_files(folder, "memory pids")
    real_mkdir, real_access = os.mkdir, os.access

    def mkdir(path: str, mode: int = 0o777) -> None:
        if not str(path).startswith(str(delegated)):
            raise PermissionError(13, "Permission denied")
        real_mkdir(path, mode)
        add_files(Path(path), "memory pids")

    def access(path: str, mode: int) -> bool:
        return str(path).startswith(str(delegated)) and real_access(path, mode)

    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "access", access)
    found = Hierarchies(str(tmp_path), {}, {"": "/user.slice/user@1.service/app.slice"})
    group = Cgroup.create("/wherry/x", Resources(pids=Pids(limit=3)), found)
    assert group.procs_files == [f"{delegated}/wherry/x/cgroup.procs"]
    assert group.missing == []
    assert Cgroup.attach_existing("/wherry/x", found).procs_files == group.procs_files


# --- no cgroups at all --------------------------------------------------------------------------


def test_without_any_writable_cgroup_nothing_is_bounded_but_everything_else_works(
    sleeper: Callable[[list[str]], int],
) -> None:
    resources = Resources(memory=Memory(limit=MIB), cpu=Cpu(quota=1000), pids=Pids(limit=3))
    group = Cgroup.create("/a", resources, Hierarchies(None, {}, {}))
    assert [limit.partition(":")[0] for limit in group.missing] == [
        "memory limit",
        "CPU limit",
        "pids limit",
    ]
    assert group.procs_files == []
    pid = sleeper([])
    group.tell_of(pid)
    assert group.pids() == [pid]
    stats = group.stats()
    assert stats.memory_usage > 0
    assert stats.pids_current == 1
    assert group.oom_event() is None
    group.freeze()
    group.thaw()
    group.kill()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert group.pids() == []
    group.delete()
    group.delete()


# --- real ones ----------------------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[Callable[[list[str]], int]]:
    """Forks a process that joins a cgroup by its files and waits for signals."""
    pids = []

    def fork(procs_files: list[str]) -> int:
        ready, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            for name in procs_files:
                descriptor = os.open(name, os.O_WRONLY)
                os.write(descriptor, b"0")
            os.write(told, b"x")
            while True:
                signal.pause()
        os.close(told)
        assert os.read(ready, 1) == b"x"
        os.close(ready)
        pids.append(pid)
        return pid

    yield fork
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ChildProcessError, ProcessLookupError):
            continue


def hog(group: Cgroup, mebibytes: int) -> int:
    """Run a child in the group that touches so much memory; return its wait status."""
    pid = os.fork()
    if pid == 0:
        for name in group.procs_files:
            os.write(os.open(name, os.O_WRONLY), b"0")
        bytearray(os.urandom(1)) * (mebibytes * MIB)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.fixture(params=["v1", "v2"])
def found(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Hierarchies:
    """The host's v1 hierarchies, or its v2 one whether or not it has controllers."""
    host = of_this_process()
    if request.param == "v1":
        if not host.legacy:
            pytest.skip("this host has cgroup v2 only")
        return host._replace(unified=None)
    if host.unified is None:
        pytest.skip("this host has cgroup v1 only")
    monkeypatch.setattr(Hierarchies, "is_unified", True)
    return host


@pytest.fixture
def name(tmp_path: Path) -> str:
    return f"/wherry-test-{os.getpid()}-{tmp_path.name}"


@pytest.fixture
def group(found: Hierarchies, name: str) -> Iterator[Cgroup]:
    group = Cgroup.create(name, Resources(), found)
    yield group
    group.kill()
    group.delete()


Sleeper = Callable[[list[str]], int]


@pytest.mark.root
def test_a_process_joins_and_is_found(group: Cgroup, sleeper: Sleeper) -> None:
    pid = sleeper(group.procs_files)
    assert group.pids() == [pid]
    assert group.stats().pids_current == 1


@pytest.mark.root
def test_a_killed_group_can_be_deleted_at_once_and_again(
    group: Cgroup, sleeper: Sleeper, found: Hierarchies, name: str
) -> None:
    pids = [sleeper(group.procs_files) for _ in range(3)]
    group.kill()
    group.delete()
    group.delete()
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [signal.SIGKILL] * 3
    assert Cgroup.attach_existing(name, found).pids() == []
    assert group.stats().memory_usage == 0


@pytest.mark.root
def test_frozen_processes_stand_still_until_they_are_thawed(group: Cgroup) -> None:
    heard, said = os.pipe2(os.O_NONBLOCK)
    pid = os.fork()
    if pid == 0:
        for name in group.procs_files:
            os.write(os.open(name, os.O_WRONLY), b"0")
        os.set_blocking(said, True)
        while True:
            os.write(said, b"x")
    assert select.select([heard], [], [], 60)[0]
    group.freeze()
    with pytest.raises(BlockingIOError):
        while True:
            os.read(heard, 1 << 20)
    assert not select.select([heard], [], [], 0.1)[0], "a frozen process wrote"
    group.thaw()
    assert select.select([heard], [], [], 60)[0]
    group.kill()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    os.close(heard)
    os.close(said)


@pytest.mark.root
def test_frozen_processes_can_be_killed(group: Cgroup, sleeper: Sleeper) -> None:
    pid = sleeper(group.procs_files)
    group.freeze()
    group.kill()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


@pytest.mark.root
def test_a_group_is_found_again_after_a_restart(
    group: Cgroup, sleeper: Sleeper, found: Hierarchies, name: str
) -> None:
    pid = sleeper(group.procs_files)
    again = Cgroup.attach_existing(name, found)
    assert again.pids() == [pid]
    again.kill()
    again.delete()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


@pytest.mark.root
def test_a_group_in_use_is_not_made_twice(
    group: Cgroup, sleeper: Sleeper, found: Hierarchies, name: str
) -> None:
    pid = sleeper(group.procs_files)
    with pytest.raises(CgroupError, match="cannot make cgroup"):
        Cgroup.create(name, Resources(), found)
    assert group.pids() == [pid]


@pytest.mark.root
def test_an_empty_group_left_behind_is_replaced(
    group: Cgroup, found: Hierarchies, name: str
) -> None:
    again = Cgroup.create(name, Resources(), found)
    assert again.pids() == []


@pytest.mark.root
def test_children_of_the_group_go_with_it(group: Cgroup, found: Hierarchies) -> None:
    for file in group.procs_files:
        Path(file).with_name("child").mkdir()
    group.delete()
    assert not any(Path(file).parent.exists() for file in group.procs_files)


@pytest.mark.root
def test_v2_the_kernel_enables_a_controller_all_the_way_down(name: str) -> None:
    host = of_this_process()
    if host.unified is None:
        pytest.skip("this host has cgroup v1 only")
    root = Path(host.unified)
    controllers = (root / "cgroup.controllers").read_text().split()
    enabled_before = "hugetlb" in (root / "cgroup.subtree_control").read_text().split()
    if "hugetlb" not in controllers or not Path("/sys/kernel/mm/hugepages").exists():
        pytest.skip("this host has no hugetlb controller in its v2 hierarchy")
    group = UnifiedCgroup(f"{name}/inner", host)
    group._make()
    try:
        group.update(Resources(unified={"hugetlb.2MB.max": str(4 * MIB)}))
        folder = Path(group.procs_files[0]).parent
        assert group.missing == []
        assert (folder / "hugetlb.2MB.max").read_text() == f"{4 * MIB}\n"
    finally:
        group.delete()
        folder.parent.rmdir()
        if not enabled_before:
            (root / "cgroup.subtree_control").write_text("-hugetlb")


@pytest.fixture
def bounded(name: str) -> Iterator[Callable[[Resources], Cgroup]]:
    """Makes a group of this host with limits."""
    groups = []

    def make(resources: Resources) -> Cgroup:
        groups.append(Cgroup.create(name, resources))
        return groups[-1]

    yield make
    for group in groups:
        group.kill()
        group.delete()


@pytest.mark.root
def test_the_memory_limit_kills_and_is_counted_and_told(
    bounded: Callable[[Resources], Cgroup],
) -> None:
    group = bounded(Resources(memory=Memory(limit=16 * MIB)))
    if group.missing:
        without(group.missing[0])
    event = group.oom_event()
    assert event is not None
    poll = select.poll()
    poll.register(event, select.POLLIN)
    assert not poll.poll(0)
    assert hog(group, 64) == signal.SIGKILL
    assert poll.poll(10_000)
    os.read(event, 4096)
    os.close(event)
    stats = group.stats()
    assert stats.memory_limit == 16 * MIB
    assert stats.oom_kills >= 1
    assert stats.memory_failcnt >= 1
    assert hog(group, 4) == 0


@pytest.mark.root
def test_the_memory_limit_can_be_raised_above_the_old_swap_limit(
    bounded: Callable[[Resources], Cgroup],
) -> None:
    group = bounded(Resources(memory=Memory(limit=16 * MIB, swap=16 * MIB)))
    if group.missing:
        without(group.missing[0])
    group.update(Resources(memory=Memory(limit=64 * MIB, swap=64 * MIB)))
    assert group.stats().memory_limit == 64 * MIB
    assert hog(group, 32) == 0


@pytest.mark.root
def test_the_pids_limit_stops_forks(bounded: Callable[[Resources], Cgroup]) -> None:
    group = bounded(Resources(pids=Pids(limit=2)))
    if group.missing:
        without(group.missing[0])
    assert group.stats().pids_limit == 2
    pid = os.fork()
    if pid == 0:
        for name in group.procs_files:
            os.write(os.open(name, os.O_WRONLY), b"0")
        made = 0
        try:
            while made < 10:
                if os.fork() == 0:
                    signal.pause()
                made += 1
        finally:
            os._exit(made)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    group.kill()


@pytest.mark.root
def test_cpu_limits_are_set_changed_and_throttle(
    bounded: Callable[[Resources], Cgroup],
) -> None:
    group = bounded(Resources(cpu=Cpu(quota=1_000, period=100_000, shares=4096)))
    if group.missing:
        without(group.missing[0])
    pid = os.fork()
    if pid == 0:
        for name in group.procs_files:
            os.write(os.open(name, os.O_WRONLY), b"0")
        while True:
            os.getpid()
    while (stats := group.stats()).throttled_time == 0:
        os.sched_yield()
    assert stats.throttled_periods > 0
    assert stats.throttle_periods >= stats.throttled_periods
    assert stats.cpu_total > 0
    group.update(Resources(cpu=Cpu(quota=50_000, period=50_000)))
    group.kill()
    os.waitpid(pid, 0)


@pytest.mark.root
def test_a_limit_asked_for_later_takes_in_the_processes_that_run(
    bounded: Callable[[Resources], Cgroup], sleeper: Sleeper
) -> None:
    group = bounded(Resources())
    pid = sleeper(group.procs_files)
    group.update(Resources(cpu=Cpu(quota=10_000, period=100_000, cpus="0")))
    if group.missing:
        without(group.missing[0])
    assert os.sched_getaffinity(pid) == {0}
    assert group.pids() == [pid]


@pytest.mark.root
def test_a_refused_limit_is_said_in_one_line_and_leaves_nothing_behind(name: str) -> None:
    with pytest.raises(CgroupError) as caught:
        Cgroup.create(name, Resources(cpu=Cpu(cpus="0-4095")))
    assert str(caught.value).startswith("cannot set cpuset.cpus to 0-4095: ")
    assert "\n" not in str(caught.value)
    left = [*Path("/sys/fs/cgroup").glob(f"*{name}"), *Path("/sys/fs/cgroup").glob(name[1:])]
    assert left == []
