"""Which hooks of a container run when, where and with which state (runtime.md, "Lifecycle")."""

from collections.abc import Sequence

from wherry.oci import runtime as spec
from wherry.runtime.hooks import inside, outside
from wherry.runtime.hooks.job import Job


class ContainerHooks:
    """The hooks of one container: what is to be run at each point of its life, in order."""

    def __init__(self, config: spec.Spec, id: str, bundle: str) -> None:
        self._config = config
        self._hooks = config.hooks or spec.Hooks()
        self._id = id
        self._bundle = bundle

    def creating(self, pid: int, procs_files: Sequence[str]) -> list[Job]:
        """For when its namespaces and mounts are there and its root is not entered yet.

        `pid` is its process; hooks that run inside join its cgroup by `procs_files`.
        """
        state = self._state("creating", pid)
        return [
            *outside.plan(self._hooks.prestart, state, place="prestart"),
            *outside.plan(self._hooks.create_runtime, state, place="createRuntime"),
            *inside.plan(
                self._hooks.create_container, state, self._config, procs_files,
                place="createContainer",
            ),
        ]  # fmt: skip

    def starting(self, pid: int, procs_files: Sequence[str]) -> list[Job]:
        """For when it is to be started and no guest runs yet."""
        return inside.plan(
            self._hooks.start_container, self._state("created", pid), self._config, procs_files,
            place="startContainer",
        )  # fmt: skip

    def started(self, pid: int) -> list[Job]:
        """For when its guest runs. What fails is only to be warned of."""
        return outside.plan(self._hooks.poststart, self._state("running", pid), place="poststart")

    def deleted(self) -> list[Job]:
        """For when it is gone. What fails is only to be warned of."""
        return outside.plan(self._hooks.poststop, self._state("stopped", 0), place="poststop")

    def _state(self, status: str, pid: int) -> spec.State:
        return spec.State(
            oci_version=self._config.oci_version,
            id=self._id,
            status=status,
            pid=pid,
            bundle=self._bundle,
            annotations=self._config.annotations,
        )
