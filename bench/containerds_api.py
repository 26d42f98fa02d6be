"""containerd's API as its clients use it to run a container: no command starts for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import grpc
from tests import peers

from wherry.shim.messages import Mount
from wherry.shim.protobuf import Any, Empty, Message, embedded, messages, string, uint

SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
SNAPSHOTTER = "overlayfs"


class Runtime(Message):
    name: str = string(1)


class Container(Message):
    id: str = string(1)
    image: str = string(3)
    runtime: Runtime | None = embedded(4, Runtime)
    spec: Any | None = embedded(5, Any)
    snapshotter: str = string(6)
    snapshot_key: str = string(7)


class CreateContainer(Message):
    container: Container | None = embedded(1, Container)


class Prepare(Message):
    snapshotter: str = string(1)
    key: str = string(2)
    parent: str = string(3)


class Prepared(Message):
    mounts: Sequence[Mount] = messages(1, Mount)


class CreateTask(Message):
    container_id: str = string(1)
    rootfs: Sequence[Mount] = messages(3, Mount)


class Named(Message):
    """A container, by its id."""

    id: str = string(1)


class Waited(Message):
    exit_status: int = uint(1)


M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Image:
    """What a container is made of: a specification and the snapshot below its own."""

    runtime: str
    spec: bytes
    parent: str


class Client:
    """Runs containers of one containerd, from any number of threads at once."""

    def __init__(self, daemon: peers.Containerd, namespace: str = "default") -> None:
        self._daemon = daemon
        self._channel = grpc.insecure_channel(f"unix://{daemon.address}")
        self._metadata = (("containerd-namespace", namespace),)

    def image(self, runtime: str, reference: str, *words: str) -> Image:
        """How `ctr` would run `words` in an image that was imported."""
        made = self._daemon.ctr(
            "container", "create", "--runtime", runtime, reference, "pattern", *words
        )
        assert made.returncode == 0, made.stderr
        told = json.loads(self._daemon.ctr("container", "info", "pattern").stdout)
        below = json.loads(self._daemon.ctr("snapshot", "info", told["SnapshotKey"]).stdout)
        self._daemon.ctr("container", "rm", "pattern")
        return Image(runtime, json.dumps(told["Spec"]).encode(), below["Parent"])

    def run(self, image: Image, id: str) -> None:
        """Create, start, await and remove a container, as `ctr run --rm` does."""
        spec = Any(type_url=SPEC, value=image.spec.replace(b"pattern", id.encode()))
        container = Container(
            id=id,
            runtime=Runtime(name=image.runtime),
            spec=spec,
            snapshotter=SNAPSHOTTER,
            snapshot_key=id,
        )
        named = Named(id=id)
        self._call("containers.v1.Containers/Create", CreateContainer(container=container), Empty)
        # Only now, since what no container is known to use may be collected as garbage.
        prepare = Prepare(snapshotter=SNAPSHOTTER, key=id, parent=image.parent)
        prepared = self._call("snapshots.v1.Snapshots/Prepare", prepare, Prepared)
        task = CreateTask(container_id=id, rootfs=prepared.mounts)
        self._call("tasks.v1.Tasks/Create", task, Empty)
        wait = self._method("tasks.v1.Tasks/Wait", Waited).future(named, metadata=self._metadata)
        self._call("tasks.v1.Tasks/Start", named, Empty)
        status = wait.result().exit_status
        assert status == 0, f"container {id} exited with {status}"
        self._call("tasks.v1.Tasks/Delete", named, Empty)
        remove = Prepare(snapshotter=SNAPSHOTTER, key=id)
        self._call("snapshots.v1.Snapshots/Remove", remove, Empty)
        self._call("containers.v1.Containers/Delete", named, Empty)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _call(self, method: str, request: Message, answer: type[M]) -> M:
        answered: M = self._method(method, answer)(request, metadata=self._metadata)
        return answered

    def _method(self, method: str, answer: type[M]) -> grpc.UnaryUnaryMultiCallable[Message, M]:
        return self._channel.unary_unary(
            f"/containerd.services.{method}", Message.encode, answer.decode
        )
