"""Pods as a kubelet makes them: its folders on the host, its mounts, its defaults."""

from __future__ import annotations

import contextlib
import json
import select
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.cri import messages as cri
from tests.cri.client import CriError
from tests.cri.node import HANDLER, Node

T = TypeVar("T")

MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

WASM, LINUX = "localhost/toolbox:latest", "localhost/busybox:latest"
SOCKETS = "localhost/sockets:latest"


def eventually(what: Callable[[], T | None], seconds: float = 30) -> T:
    """What `what` returns as soon as that is true; it is asked again and again until then."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come to be"
        select.select([], [], [], 0.02)
    return found


class Pod:
    """A pod of one node. `with Pod(node) as pod:` runs it and removes it with all containers."""

    def __init__(
        self,
        node: Node,
        *,
        share_processes: bool = False,
        hostname: str = "a-pod",
        annotations: Mapping[str, str] | None = None,
        host_network: bool = False,
        seccomp: int = cri.RUNTIME_DEFAULT,
        handler: str = HANDLER,
    ) -> None:
        self._handler = handler
        self.node = node
        self.cri = node.cri
        self.uid = str(uuid.uuid4())
        self.cgroup_parent = f"{node.machine.cgroup_parent}/kubepods/burstable/pod{self.uid}"
        self.folder = node.machine.folder / "kubelet" / self.uid
        """The pod's folder on the node: volumes, its hosts file, termination logs."""
        self.logs = node.logs / self.uid
        for folder in (self.folder, self.logs):
            folder.mkdir(parents=True)
        self._pid_mode = cri.POD if share_processes else cri.CONTAINER
        self.config = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name="a-pod", uid=self.uid, namespace="default"),
            hostname="" if host_network else hostname,
            log_directory=str(self.logs),
            dns_config=cri.DNSConfig(
                servers=["10.96.0.10"], searches=["default.svc.cluster.local"], options=["ndots:5"]
            ),
            labels={"io.kubernetes.pod.uid": self.uid, "app": "test"},
            annotations=annotations or {},
            linux=cri.LinuxPodSandboxConfig(
                cgroup_parent=self.cgroup_parent,
                security_context=cri.LinuxSandboxSecurityContext(
                    namespace_options=cri.NamespaceOption(
                        network=cri.NODE if host_network else cri.POD, pid=self._pid_mode
                    ),
                    seccomp=cri.SecurityProfile(profile_type=seccomp),
                ),
            ),
        )
        self.id = ""

    def __enter__(self) -> Pod:
        self.id = self.cri.run_pod(self.config, self._handler)
        return self

    def __exit__(self, *error: object) -> None:
        # As a kubelet does it: what is running is stopped, and all goes with the sandbox.
        self.cri.stop_pod(self.id)
        eventually(self._removed)
        self.remove_cgroups()

    def _removed(self) -> bool:
        """Whether it could be removed: containerd may not have heard yet that a container ended."""
        try:
            self.cri.remove_pod(self.id)
        except CriError as error:
            if "still running" not in error.message:
                raise
            return False
        return True

    def remove_cgroups(self) -> None:
        """What a kubelet does with a pod's cgroup once the pod is gone: it tries until it can."""

        def removed() -> bool:
            for parent in Path("/sys/fs/cgroup").glob(f"*{self.cgroup_parent}"):
                with contextlib.suppress(OSError):
                    parent.rmdir()
            return not [*Path("/sys/fs/cgroup").glob(f"*{self.cgroup_parent}")]

        eventually(removed)

    @property
    def namespaces(self) -> cri.NamespaceOption:
        """Whose namespaces its containers use, to be changed."""
        assert self.config.linux is not None and self.config.linux.security_context is not None
        options = self.config.linux.security_context.namespace_options
        assert options is not None
        return options

    @property
    def ip(self) -> str:
        """Its address."""
        network = self.cri.pod_status(self.id).network
        assert network is not None
        return network.ip

    @property
    def pid(self) -> int:
        """The process of its sandbox, by the machine's number."""
        return int(json.loads(self.cri.pod_info(self.id)["info"])["pid"])

    def container(
        self,
        *args: str,
        image: str = WASM,
        name: str = "main",
        attempt: int = 0,
        command: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        mounts: Sequence[cri.Mount] = (),
        workdir: str = "",
        stdin: bool = False,
        tty: bool = False,
        memory: int = 0,
        security: cri.LinuxContainerSecurityContext | None = None,
    ) -> Container:
        """Create a container that runs `args`, or `command` with them; `memory` in bytes."""
        hosts = self.folder / "etc-hosts"
        hosts.write_text(f"127.0.0.1\tlocalhost\n10.87.0.99\t{self.config.hostname}\n")
        message = self.folder / f"{name}-{attempt}-message"
        message.touch()
        message.chmod(0o666)
        security = security or cri.LinuxContainerSecurityContext(
            masked_paths=MASKED,
            readonly_paths=READONLY,
            seccomp=cri.SecurityProfile(profile_type=cri.RUNTIME_DEFAULT),
        )
        security.namespace_options = self.namespaces
        config = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name=name, attempt=attempt),
            image=cri.ImageSpec(image=image),
            command=command,
            args=args,
            working_dir=workdir,
            envs=[cri.KeyValue(key=k, value=v.encode()) for k, v in (env or {}).items()],
            mounts=[
                *mounts,
                cri.Mount(container_path="/etc/hosts", host_path=str(hosts)),
                cri.Mount(container_path="/dev/termination-log", host_path=str(message)),
            ],
            labels={"io.kubernetes.container.name": name},
            log_path=f"{name}-{attempt}.log",
            stdin=stdin,
            tty=tty,
            linux=cri.LinuxContainerConfig(
                resources=cri.LinuxContainerResources(
                    cpu_shares=2, oom_score_adj=1000, memory_limit_in_bytes=memory
                ),
                security_context=security,
            ),
        )
        id = self.cri.create(self.id, config, self.config)
        return Container(self, id, self.logs / config.log_path, message)

    def run(self, *args: str, **options: object) -> Container:
        """Create a container and start it."""
        container = self.container(*args, **options)  # type: ignore[arg-type]
        container.start()
        return container


class Container:
    """A container of a pod."""

    def __init__(self, pod: Pod, id: str, log: Path, message: Path) -> None:
        self.pod = pod
        self.id = id
        self.log = log
        """Its log on the node, in the CRI's format."""
        self.message = message
        """Its termination message on the node."""

    @property
    def status(self) -> cri.ContainerStatus:
        return self.pod.cri.container_status(self.id)

    @property
    def info(self) -> dict[str, Any]:
        """What containerd tells who wants to know more."""
        return json.loads(self.pod.cri.container_info(self.id)["info"])  # type: ignore[no-any-return]

    @property
    def pid(self) -> int:
        """Its first process, by the machine's number."""
        return int(self.info["pid"])

    def cgroup_value(self, controller: str, legacy: str, unified: str) -> str:
        """What a file of its cgroup says: `legacy` in version 1, `unified` in version 2."""
        path = f"{self.pod.cgroup_parent}/{self.id}"
        file = Path(f"/sys/fs/cgroup/{controller}{path}/{legacy}")
        if not file.exists():
            file = Path(f"/sys/fs/cgroup{path}/{unified}")
        return file.read_text().strip()

    def start(self) -> None:
        self.pod.cri.start(self.id)

    def wait(self) -> cri.ContainerStatus:
        """Its status once it has exited."""

        def exited() -> cri.ContainerStatus | None:
            status = self.status
            return status if status.state == cri.EXITED else None

        return eventually(exited)

    def stop(self, seconds: int = 30) -> None:
        self.pod.cri.stop(self.id, seconds)

    def remove(self) -> None:
        self.pod.cri.remove(self.id)

    def exec(self, *cmd: str, seconds: int = 0) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a process beside it."""
        answer = self.pod.cri.exec_sync(self.id, *cmd, seconds=seconds)
        return answer.exit_code, answer.stdout.decode(), answer.stderr.decode()

    def output(self, stream: str = "stdout", *, until: str = "") -> str:
        """What the log has of a stream, waiting for `until` to be there."""
        return (
            eventually(lambda: self._output(stream, until) or None) if until else self._read(stream)
        )

    def _output(self, stream: str, until: str) -> str:
        text = self._read(stream)
        return text if until in text else ""

    def _read(self, stream: str) -> str:
        text = ""
        for line in self.log.read_text().splitlines():
            _, source, tag, content = line.split(" ", 3)
            if source == stream:
                text += content + ("\n" if tag == "F" else "")
        return text
