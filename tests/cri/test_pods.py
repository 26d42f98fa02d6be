"""What the containers of a pod share, Wasm and Linux side by side, and what a pod gives them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.cri import messages as cri
from tests.cri.client import CriError
from tests.cri.node import HANDLER, WASM_ONLY, Node
from tests.cri.pods import LINUX, SOCKETS, WASM, Pod, eventually

pytestmark = [pytest.mark.root, pytest.mark.containerd]


def test_a_pod_is_ready_and_has_an_address_until_it_is_stopped(node: Node) -> None:
    with Pod(node) as pod:
        status = pod.cri.pod_status(pod.id)
        assert (status.state, status.runtime_handler) == (cri.READY, HANDLER)
        assert pod.ip.startswith("10.87.0.")
        (listed,) = pod.cri.pods(**{"io.kubernetes.pod.uid": pod.uid})
        assert (listed.id, listed.state) == (pod.id, cri.READY)
        container = pod.run("sleep", "1000")
        pod.cri.stop_pod(pod.id)
        assert container.status.state == cri.EXITED
        assert pod.cri.pod_status(pod.id).state == cri.NOT_READY
        pod.cri.stop_pod(pod.id)
    assert pod.cri.pods(**{"io.kubernetes.pod.uid": pod.uid}) == []


def test_a_pod_has_a_server_of_its_own_that_ends_with_it(node: Node) -> None:
    with Pod(node) as one, Pod(node) as other:
        servers = [node.server_of(pod.id) for pod in (one, other)]
        assert len(set(servers)) == 2
        containers = [one.run("sleep", "1000", name=f"number-{n}") for n in range(2)]
        for container in containers:
            assert container.pid in node.family(servers[0])
        families = [node.family(server) for server in servers]
    eventually(
        lambda: (
            not node.pod_remains(one.id, families[0])
            and not node.pod_remains(other.id, families[1])
        )
    )


def test_the_pods_files_are_there(pod: Pod) -> None:
    names = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
    for number, path in enumerate(names):
        container = pod.run("cat", path, attempt=number)
        assert container.wait().exit_code == 0
        assert {
            "/etc/hosts": "10.87.0.99\ta-pod\n",
            "/etc/hostname": "a-pod\n",
            "/etc/resolv.conf": "nameserver 10.96.0.10\n",
        }[path] in container.output(until="\n")


def test_the_termination_message_reaches_the_kubelet(pod: Pod) -> None:
    container = pod.run("put", "/dev/termination-log", "so it ended")
    assert container.wait().exit_code == 0
    assert container.message.read_text() == "so it ended"


def test_many_small_files_are_mounted_read_only(pod: Pod) -> None:
    mounts = []
    for number in range(60):
        file = pod.folder / f"key-{number}"
        file.write_text(f"value {number}")
        mounts.append(
            cri.Mount(container_path=f"/config/key-{number}", host_path=str(file), readonly=True)
        )
    listing = pod.run("list", "/config", mounts=mounts)
    assert listing.wait().exit_code == 0
    eventually(lambda: len(listing.output().split()) == 60)
    writing = pod.run("put", "/config/key-0", "new", mounts=mounts, attempt=1)
    assert writing.wait().exit_code != 0
    assert (pod.folder / "key-0").read_text() == "value 0"


def test_containers_run_as_the_user_asked_for(pod: Pod) -> None:
    volume = _volume(pod)
    security = cri.LinuxContainerSecurityContext(
        run_as_user=cri.Int64(value=1234), run_as_group=cri.Int64(value=4321)
    )
    mounts = [cri.Mount(container_path="/data", host_path=volume)]
    wasm = pod.run("put", "/data/wasm", "x", mounts=mounts, security=security)
    linux = pod.run(
        "-c", "echo x >/data/linux", image=LINUX, name="linux", mounts=mounts, security=security
    )
    for name, container in (("wasm", wasm), ("linux", linux)):
        assert container.wait().exit_code == 0
        owner = (pod.folder / "volume" / name).stat()
        assert (owner.st_uid, owner.st_gid) == (1234, 4321)


def test_a_root_that_is_to_be_read_only_is(pod: Pod) -> None:
    security = cri.LinuxContainerSecurityContext(readonly_rootfs=True)
    refused = pod.run("put", "/file", "x", security=security)
    assert refused.wait().exit_code != 0
    mounts = [cri.Mount(container_path="/data", host_path=_volume(pod))]
    volume = pod.run("put", "/data/file", "x", security=security, mounts=mounts, attempt=1)
    assert volume.wait().exit_code == 0


def test_capabilities_and_profiles_are_taken_and_a_guest_has_none(pod: Pod) -> None:
    security = cri.LinuxContainerSecurityContext(
        capabilities=cri.Capability(add_capabilities=["NET_ADMIN"], drop_capabilities=["MKNOD"]),
        seccomp=cri.SecurityProfile(profile_type=cri.UNCONFINED),
        no_new_privs=False,
    )
    container = pod.run("sleep", "1000", security=security)
    status = (pod.node.proc / f"{container.pid}/status").read_text()
    assert "CapEff:\t0000000000000000\n" in status
    assert "NoNewPrivs:\t1\n" in status
    assert "Seccomp:\t2\n" in status


def test_init_containers_come_one_after_the_other(pod: Pod) -> None:
    mounts = [cri.Mount(container_path="/data", host_path=_volume(pod))]
    for number, (image, args) in enumerate(
        (
            ("localhost/toolbox:latest", ("put", "/data/order", "wasm ")),
            (LINUX, ("-c", "echo linux >>/data/order")),
        )
    ):
        first = pod.run(*args, image=image, name=f"init-{number}", mounts=mounts)
        assert first.wait().exit_code == 0
        first.remove()
    main = pod.run("cat", "/data/order", mounts=mounts)
    assert main.output(until="\n") == "wasm linux\n"


def test_linux_and_wasm_share_network_memory_and_names(pod: Pod) -> None:
    wasm = pod.run("sleep", "1000", name="wasm")
    wasm.output(until="ready")
    linux = pod.run("-c", "/busybox sleep 1000", image=LINUX, name="linux")
    namespaces = {
        kind: [
            (pod.node.proc / f"{container.pid}/ns/{kind}").readlink() for container in (wasm, linux)
        ]
        for kind in ("ipc", "uts", "pid", "mnt")
    }
    assert namespaces["ipc"][0] == namespaces["ipc"][1]
    assert namespaces["uts"][0] == namespaces["uts"][1]
    assert namespaces["pid"][0] != namespaces["pid"][1]
    assert namespaces["mnt"][0] != namespaces["mnt"][1]
    assert pod.ip in linux.exec("/busybox", "ip", "addr", "show", "eth0")[1]
    assert linux.exec("/busybox", "hostname")[1] == "a-pod\n"
    assert linux.exec("/busybox", "sh", "-c", "echo shared >/dev/shm/words")[0] == 0
    assert wasm.exec("/toolbox.wasm", "cat", "/dev/shm/words") == (0, "shared\n", "")


def test_linux_and_wasm_talk_to_each_other_over_localhost(pod: Pod) -> None:
    server = pod.run("serve", "8000", image=SOCKETS, name="wasm-server")
    linux = pod.run(
        "-c", "echo 'from linux' >/page; /busybox httpd -f -p 8001 -h /", image=LINUX, name="linux"
    )
    _until_listening(pod, server.pid, 8000, 8001)
    answer = linux.exec("/busybox", "wget", "-qO-", "http://127.0.0.1:8000/greeting")
    assert answer[0] == 0 and "GET /greeting" in answer[1]
    client = pod.run("get", "localhost", "8001", image=SOCKETS, name="wasm-client")
    assert client.wait().exit_code == 0
    # The pod's address is good for all others on the node's network.
    with Pod(pod.node) as other:
        far = other.run(
            "-c", f"/busybox wget -qO- http://{pod.ip}:8000/far", image=LINUX, name="far"
        )
        assert far.wait().exit_code == 0
        assert "GET /far" in far.output(until="/far")


def test_processes_are_shared_when_they_are_to_be(node: Node) -> None:
    with Pod(node, share_processes=True) as pod:
        wasm = pod.run("sleep", "1000", name="wasm")
        wasm.output(until="ready")
        linux = pod.run("-c", "/busybox sleep 1000", image=LINUX, name="linux")
        spaces = {(node.proc / f"{container.pid}/ns/pid").readlink() for container in (wasm, linux)}
        assert len(spaces) == 1
        assert "toolbox" in linux.exec("/busybox", "ps")[1]
        wasm.stop()
        assert wasm.status.exit_code == 143
        assert linux.status.state == cri.RUNNING


def test_a_debug_container_sees_the_processes_of_a_wasm_container(pod: Pod) -> None:
    target = pod.run("sleep", "1000", name="target")
    pod.namespaces.pid, pod.namespaces.target_id = cri.TARGET, target.id
    debug = pod.run("-c", "/busybox ps", image=LINUX, name="debug")
    assert debug.wait().exit_code == 0
    assert "toolbox" in debug.output(until="busybox ps")
    assert pod.run("both", name="wasm").wait().exit_code == 0


def test_a_pod_may_have_all_of_its_node(node: Node) -> None:
    pod = Pod(node, host_network=True)
    pod.namespaces.pid = pod.namespaces.ipc = cri.NODE
    assert pod.config.linux is not None and pod.config.linux.security_context is not None
    pod.config.linux.security_context.privileged = True
    with pod:
        for image, args in ((WASM, ("sleep", "1000")), (LINUX, ("-c", "/busybox sleep 1000"))):
            security = cri.LinuxContainerSecurityContext(privileged=True)
            container = pod.run(*args, image=image, name=image[10:14], security=security)
            for kind in ("pid", "ipc", "uts"):
                place = (node.proc / f"{container.pid}/ns/{kind}").readlink()
                assert place == (node.proc / f"1/ns/{kind}").readlink(), (image, kind)


def test_the_sysctls_of_a_pod_are_set(node: Node) -> None:
    pod = Pod(node)
    assert pod.config.linux is not None
    pod.config.linux.sysctls = {"net.ipv4.ip_unprivileged_port_start": "81"}
    with pod:
        words = ("-c", "/busybox cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
        linux = pod.run(*words, image=LINUX)
        assert linux.output(until="\n") == "81\n"


def test_a_pod_may_have_linux_containers_only(pod: Pod) -> None:
    container = pod.run("-c", "echo out; echo err >&2; exit 7", image=LINUX)
    status = container.wait()
    assert (status.exit_code, status.reason) == (7, "Error")
    assert container.output("stdout", until="\n") == "out\n"
    assert container.output("stderr", until="\n") == "err\n"
    handler = "trap 'echo bye; exit 5' TERM; echo ready; while :; do /busybox sleep 0.05; done"
    stopped = pod.run("-c", handler, image=LINUX, name="traps")
    stopped.output(until="ready")
    stopped.stop(seconds=30)
    assert stopped.status.exit_code == 5
    assert "bye" in stopped.output(until="bye")


def test_a_pod_may_use_the_network_of_its_node(node: Node) -> None:
    with Pod(node, host_network=True) as pod:
        linux = pod.run("-c", "/busybox ip addr show pods0", image=LINUX, name="linux")
        assert linux.wait().exit_code == 0
        wasm = pod.run("sleep", "0")
        assert wasm.wait().exit_code == 0


def test_the_slices_of_systemds_cgroup_driver_are_kept(node: Node) -> None:
    pod = Pod(node)
    top = f"wherrytests{pod.uid[:8]}"
    pod.cgroup_parent = f"/{top}.slice/{top}-pod{pod.uid.replace('-', '_')}.slice"
    assert pod.config.linux is not None
    pod.config.linux.cgroup_parent = pod.cgroup_parent
    with pod:
        container = pod.run("sleep", "1000")
        lines = (node.proc / f"{container.pid}/cgroup").read_text().splitlines()
        place = f"{pod.cgroup_parent}/cri-containerd-{container.id}.scope"
        assert any(line.endswith(place) for line in lines)
    for folder in Path("/sys/fs/cgroup").glob(f"*/{top}.slice"):
        folder.rmdir()


def test_thirty_pods_at_once(node: Node) -> None:
    def life(number: int) -> tuple[int, str]:
        with Pod(node, hostname=f"pod-{number}") as pod:
            container = pod.run("cat", "/etc/hostname")
            return container.wait().exit_code, container.output(until="\n")

    with ThreadPoolExecutor(30) as pool:
        outcomes = list(pool.map(life, range(30)))
    assert outcomes == [(0, f"pod-{number}\n") for number in range(30)]
    eventually(lambda: node.remains() == [])


def _until_listening(pod: Pod, pid: int, *ports: int) -> None:
    """Until somebody listens on the ports in the network of a process."""
    wanted = {f":{port:04X}" for port in ports}

    def listening() -> bool:
        folder = pod.node.proc / f"{pid}/net"
        lines = [*(folder / "tcp").open(), *(folder / "tcp6").open()]
        return wanted <= {line.split()[1][-5:] for line in lines if line.split()[3] == "0A"}

    eventually(listening)


def _volume(pod: Pod) -> str:
    """An emptyDir's folder, for everybody."""
    folder = pod.folder / "volume"
    folder.mkdir()
    folder.chmod(0o777)
    return str(folder)


def test_a_handler_may_be_for_wasm_only(node: Node) -> None:
    """An image that says wasi/wasm and brings a Linux program gets no process then."""
    with Pod(node, handler=WASM_ONLY) as pod:
        assert pod.run("put", "/file", "text").wait().exit_code == 0
        with pytest.raises(CriError, match="no WebAssembly program, and Linux programs are not"):
            pod.run("true", image=LINUX, name="linux")
