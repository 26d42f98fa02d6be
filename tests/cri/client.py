"""The CRI's client, as a kubelet is one: messages over gRPC on a Unix socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import TypeVar

from tests.cri import messages as cri

from wherry.shim.containerd.grpc import Exchange
from wherry.shim.protobuf import Empty, Message
from wherry.shim.ttrpc import CallError

M = TypeVar("M", bound=Message)

_SECONDS = 60
_NOT_YET = "server is not initialized yet"


class CriError(Exception):
    """The runtime refused a call; `code` is gRPC's name of the kind."""

    def __init__(self, method: str, code: str, message: str) -> None:
        super().__init__(f"{method}: {code}: {message}")
        self.code = code
        self.message = message


class CriClient:
    """One method for each call that the tests make. They raise CriError."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def _call(
        self,
        method: str,
        request: Message,
        answer: type[M],
        *,
        service: str = cri.RUNTIME_SERVICE,
        seconds: float = _SECONDS,
    ) -> M:
        """Make a call; as the kubelet does again while containerd says that it has just begun."""
        last = time.monotonic() + _SECONDS
        while True:
            try:
                return self._ask(f"/{service}/{method}", request, answer, seconds)
            except CriError as error:
                if _NOT_YET not in error.message or time.monotonic() > last:
                    raise

    def _ask(self, method: str, request: Message, answer: type[M], seconds: float) -> M:
        # Not by grpcio: with it loaded, no test of this process may fork any more.
        exchange = Exchange(method, request.encode(), {})
        answers: list[bytes] = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            try:
                connection.connect(self._socket)
                while not exchange.ended:
                    connection.sendall(exchange.to_send())
                    data = connection.recv(1 << 20)
                    if not data:
                        raise CriError(method, "UNAVAILABLE", "the connection broke")
                    answers += exchange.receive(data)
            except CallError as error:
                raise CriError(method, error.code.name, error.message) from None
            except OSError as error:
                raise CriError(method, "UNAVAILABLE", str(error)) from None
        return answer.decode(answers[0])

    def version(self, seconds: float = _SECONDS) -> cri.VersionResponse:
        return self._call("Version", cri.VersionRequest(), cri.VersionResponse, seconds=seconds)

    def status(self) -> cri.StatusResponse:
        return self._call("Status", cri.StatusRequest(verbose=True), cri.StatusResponse)

    def run_pod(self, config: cri.PodSandboxConfig, handler: str) -> str:
        """RunPodSandbox: the pod's id."""
        request = cri.RunPodSandboxRequest(config=config, runtime_handler=handler)
        return self._call("RunPodSandbox", request, cri.PodSandboxId).pod_sandbox_id

    def stop_pod(self, id: str) -> None:
        self._call("StopPodSandbox", cri.PodSandboxId(pod_sandbox_id=id), Empty)

    def remove_pod(self, id: str) -> None:
        self._call("RemovePodSandbox", cri.PodSandboxId(pod_sandbox_id=id), Empty)

    def pod_status(self, id: str) -> cri.PodSandboxStatus:
        request = cri.PodSandboxId(pod_sandbox_id=id)
        status = self._call("PodSandboxStatus", request, cri.PodSandboxStatusResponse).status
        assert status is not None
        return status

    def pod_info(self, id: str) -> Mapping[str, str]:
        """PodSandboxStatus: what the runtime adds for who wants to know more."""
        request = cri.PodSandboxId(pod_sandbox_id=id, verbose=True)
        return self._call("PodSandboxStatus", request, cri.PodSandboxStatusResponse).info

    def pods(self, **labels: str) -> list[cri.PodSandbox]:
        """ListPodSandbox: those with `labels`."""
        request = cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(label_selector=labels))
        return list(self._call("ListPodSandbox", request, cri.ListPodSandboxResponse).items)

    def create(self, pod: str, config: cri.ContainerConfig, of: cri.PodSandboxConfig) -> str:
        """CreateContainer: the container's id."""
        request = cri.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=of)
        return self._call("CreateContainer", request, cri.ContainerId).container_id

    def start(self, id: str) -> None:
        self._call("StartContainer", cri.ContainerId(container_id=id), Empty)

    def stop(self, id: str, seconds: int) -> None:
        """StopContainer: SIGKILL after a grace of `seconds`."""
        self._call(
            "StopContainer", cri.StopContainerRequest(container_id=id, timeout=seconds), Empty
        )

    def remove(self, id: str) -> None:
        self._call("RemoveContainer", cri.ContainerId(container_id=id), Empty)

    def container_status(self, id: str) -> cri.ContainerStatus:
        request = cri.ContainerStatusRequest(container_id=id)
        status = self._call("ContainerStatus", request, cri.ContainerStatusResponse).status
        assert status is not None
        return status

    def container_info(self, id: str) -> Mapping[str, str]:
        """ContainerStatus: what the runtime adds for who wants to know more."""
        request = cri.ContainerStatusRequest(container_id=id, verbose=True)
        return self._call("ContainerStatus", request, cri.ContainerStatusResponse).info

    def containers(self, pod: str = "") -> list[cri.Container]:
        """ListContainers: all, or those of a pod."""
        request = cri.ListContainersRequest(filter=cri.ContainerFilter(pod_sandbox_id=pod))
        return list(self._call("ListContainers", request, cri.ListContainersResponse).containers)

    def exec_sync(self, id: str, *cmd: str, seconds: int = 0) -> cri.ExecSyncResponse:
        """ExecSync: for at most `seconds`, if they are not 0."""
        request = cri.ExecSyncRequest(container_id=id, cmd=cmd, timeout=seconds)
        return self._call("ExecSync", request, cri.ExecSyncResponse)

    def exec_address(self, request: cri.ExecRequest) -> str:
        """Exec: where the process is to be talked to."""
        return self._call("Exec", request, cri.StreamAddress).url

    def attach_address(self, request: cri.AttachRequest) -> str:
        """Attach: where the container is to be talked to."""
        return self._call("Attach", request, cri.StreamAddress).url

    def forward_address(self, pod: str, port: int) -> str:
        """PortForward: where a pod's port is to be talked to."""
        request = cri.PortForwardRequest(pod_sandbox_id=pod, port=[port])
        return self._call("PortForward", request, cri.StreamAddress).url

    def update(self, id: str, resources: cri.LinuxContainerResources) -> None:
        request = cri.UpdateContainerResourcesRequest(container_id=id, linux=resources)
        self._call("UpdateContainerResources", request, Empty)

    def reopen_log(self, id: str) -> None:
        self._call("ReopenContainerLog", cri.ContainerId(container_id=id), Empty)

    def stats(self, id: str) -> cri.ContainerStats:
        request = cri.ContainerId(container_id=id)
        stats = self._call("ContainerStats", request, cri.ContainerStatsResponse).stats
        assert stats is not None
        return stats

    def all_stats(self, pod: str) -> list[cri.ContainerStats]:
        """ListContainerStats of a pod's containers."""
        request = cri.ListContainerStatsRequest(filter=cri.ContainerStatsFilter(pod_sandbox_id=pod))
        return list(self._call("ListContainerStats", request, cri.ListContainerStatsResponse).stats)

    def pod_stats(self, pod: str) -> cri.PodSandboxStats:
        request = cri.PodSandboxId(pod_sandbox_id=pod)
        stats = self._call("PodSandboxStats", request, cri.PodSandboxStatsResponse).stats
        assert stats is not None
        return stats

    def image(self, name: str) -> cri.Image | None:
        """ImageStatus: None when there is no such image."""
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=name))
        answer = self._call(
            "ImageStatus", request, cri.ImageStatusResponse, service=cri.IMAGE_SERVICE
        )
        return answer.image

    def pull(self, name: str, handler: str) -> str:
        """PullImage for pods of `handler`: the image's reference."""
        spec = cri.ImageSpec(image=name, runtime_handler=handler)
        request = cri.PullImageRequest(image=spec)
        return self._call(
            "PullImage", request, cri.PullImageResponse, service=cri.IMAGE_SERVICE
        ).image_ref
