"""One container of a pod: its life, its status, its log, its limits."""

import pytest
from tests.cri import messages as cri
from tests.cri.client import CriError
from tests.cri.pods import Pod, eventually

pytestmark = [pytest.mark.root, pytest.mark.containerd]


def test_its_status_tells_how_it_ended_and_when(pod: Pod) -> None:
    container = pod.container("both")
    assert container.status.state == cri.CREATED
    container.start()
    status = container.wait()
    assert (status.exit_code, status.reason) == (0, "Completed")
    assert 0 < status.created_at <= status.started_at <= status.finished_at


def test_its_exit_code_arrives(pod: Pod) -> None:
    status = pod.run("cat", "/no/such").wait()
    assert (status.exit_code, status.reason) == (44, "Error")


def test_its_log_names_the_streams(pod: Pod) -> None:
    container = pod.run("both")
    container.wait()
    assert container.output("stdout", until="\n") == "to stdout\n"
    assert container.output("stderr", until="\n") == "to stderr\n"


def test_a_trap_is_explained_in_its_log(pod: Pod) -> None:
    container = pod.run(image="localhost/trap:latest")
    assert container.wait().exit_code == 134
    assert "wherry: trap: " in container.output("stderr", until="\n")


def test_a_long_line_is_kept_whole(pod: Pod) -> None:
    words = "x" * 100_000
    (pod.folder / "long").write_text(words)
    mount = cri.Mount(container_path="/long", host_path=str(pod.folder / "long"), readonly=True)
    container = pod.run("cat", "/long", mounts=[mount])
    container.wait()
    assert eventually(lambda: len(container.output()) >= len(words))
    assert container.output().rstrip("\n") == words


def test_stopping_it_does_not_wait_for_the_grace_to_end(pod: Pod) -> None:
    container = pod.run("sleep", "1000")
    container.output(until="ready")
    container.stop(seconds=3600)
    status = container.status
    assert (status.state, status.exit_code, status.reason) == (cri.EXITED, 143, "Error")


def test_stopping_and_removing_may_be_repeated(pod: Pod) -> None:
    container = pod.run("sleep", "1000")
    for _ in range(2):
        container.stop()
    for _ in range(2):
        container.remove()
    with pytest.raises(CriError) as refusal:
        assert container.status
    assert refusal.value.code == "NOT_FOUND"


def test_a_running_container_is_removed_by_force(pod: Pod) -> None:
    container = pod.run("sleep", "1000")
    container.remove()
    assert pod.cri.containers(pod.id) == []


def test_a_program_that_is_not_there_is_named(pod: Pod) -> None:
    container = pod.container(command=("/no/such.wasm",))
    with pytest.raises(CriError, match=r'"/no/such\.wasm": no such file or directory'):
        container.start()
    status = container.status
    assert (status.state, status.reason) == (cri.EXITED, "StartError")
    container.remove()


def test_command_args_env_and_workdir_reach_it(pod: Pod) -> None:
    (pod.folder / "words").write_text("from a relative path")
    mount = cri.Mount(container_path="/made/for/it/words", host_path=str(pod.folder / "words"))
    words = ("toolbox.wasm", "cat", "words")
    relative = pod.run(command=words, workdir="/made/for/it", mounts=[mount])
    assert relative.wait().exit_code == 0
    assert relative.output(until="path") == "from a relative path"
    environ = pod.run(image="localhost/environ:latest", name="environ", env={"GREETING": "hé llo"})
    environ.wait()
    assert "GREETING=hé llo" in environ.output(until="GREETING").replace("\0", "\n").splitlines()


def test_a_limit_of_memory_ends_it_as_out_of_memory(pod: Pod) -> None:
    status = pod.run("fill", "/dev/shm/file", "200", memory=64 << 20).wait()
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


def test_a_guest_that_dies_of_refused_memory_is_out_of_memory_too(pod: Pod) -> None:
    container = pod.run(image="localhost/hog:latest", memory=32 << 20)
    status = container.wait()
    assert (status.exit_code, status.reason) == (134, "OOMKilled")
    assert "the guest was refused memory" in container.output("stderr", until="--memory")


def test_its_statistics_are_those_of_its_cgroup(pod: Pod) -> None:
    container = pod.run("sleep", "1000")
    container.output(until="ready")
    stats = pod.cri.stats(container.id)
    assert stats.attributes is not None and stats.attributes.id == container.id
    assert stats.memory is not None and stats.memory.working_set_bytes is not None
    assert 100_000 < stats.memory.working_set_bytes.value < 50_000_000
    assert stats.cpu is not None and stats.cpu.usage_core_nano_seconds is not None
    assert stats.cpu.usage_core_nano_seconds.value > 0
    listed = {each.attributes.id for each in pod.cri.all_stats(pod.id) if each.attributes}
    assert listed == {container.id}
    of_pod = pod.cri.pod_stats(pod.id).linux
    assert of_pod is not None and of_pod.memory is not None and of_pod.process is not None
    assert of_pod.memory.usage_bytes is not None and of_pod.memory.usage_bytes.value > 0
    assert of_pod.network is not None and of_pod.network.default_interface is not None
    assert of_pod.network.default_interface.name == "eth0"


def test_it_may_be_given_other_limits_while_it_runs(pod: Pod) -> None:
    container = pod.run("sleep", "1000", memory=64 << 20)
    pod.cri.update(
        container.id,
        cri.LinuxContainerResources(
            memory_limit_in_bytes=96 << 20, cpu_period=100_000, cpu_quota=50_000
        ),
    )
    assert container.cgroup_value("memory", "memory.limit_in_bytes", "memory.max") == str(96 << 20)
    assert container.cgroup_value("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"


def test_its_cgroup_is_its_pods(pod: Pod) -> None:
    container = pod.run("sleep", "1000")
    lines = (pod.node.proc / f"{container.pid}/cgroup").read_text().splitlines()
    assert any(line.endswith(f"{pod.cgroup_parent}/{container.id}") for line in lines)


def test_its_log_is_opened_anew_after_a_rotation(pod: Pod) -> None:
    container = pod.run("tick")
    container.output(until="tick 2")
    rotated = container.log.rename(container.log.with_suffix(".1"))
    pod.cri.reopen_log(container.id)
    eventually(lambda: "tick" in container.output())
    assert "tick 0" in rotated.read_text()


def test_the_runtime_tells_what_it_knows_of_it(pod: Pod) -> None:
    container = pod.run("sleep", "1000")
    info = container.info
    assert info["runtimeType"] == "io.containerd.wherry.v1"
    assert info["pid"] > 0
    assert info["runtimeSpec"]["process"]["args"] == ["/toolbox.wasm", "sleep", "1000"]
