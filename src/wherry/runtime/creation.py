"""What comes before a container's process, whoever makes it: the shim's launcher or the command."""

import contextlib
import os
import socket
from collections.abc import Iterator

import msgspec

from wherry.oci import runtime as spec
from wherry.runtime import messages
from wherry.runtime.code import CodeCache, CompiledCode
from wherry.runtime.exits import ENGINE_FAILED, LaunchError, NotWasm
from wherry.runtime.program import is_meant_as_wasm
from wherry.runtime.sandbox import syscalls as sys
from wherry.runtime.sandbox.cgroups import Cgroup
from wherry.runtime.sandbox.namespaces import wants_network

_CLONE_FLAGS = {
    "pid": sys.CLONE_NEWPID,
    "ipc": sys.CLONE_NEWIPC,
    "uts": sys.CLONE_NEWUTS,
    "network": sys.CLONE_NEWNET,
}
"""Namespaces made by the fork itself; the mount namespace always is."""

_ENGINE_TASKS = 32
"""Threads that wasmtime may start for host calls, on top of a container's own limit of tasks."""


def make_cgroup(identifier: str, config: spec.Spec) -> Cgroup:
    """Make the cgroup that `config` asks for. Raises LaunchError."""
    linux = config.linux or spec.Linux()
    try:
        return Cgroup.create(cgroup_path(identifier, config), with_engine_tasks(linux.resources))
    except OSError as error:
        raise LaunchError(f"its cgroup cannot be made: {error}") from None


def cgroup_path(identifier: str, config: spec.Spec) -> str:
    """Where the container's cgroup lies: the bundle's cgroupsPath, or a place of ours."""
    return (config.linux.cgroups_path if config.linux else "") or f"/wherry/{identifier}"


def with_engine_tasks(resources: spec.Resources | None) -> spec.Resources | None:
    """The same limits, with room for the engine's own threads."""
    if resources is None or resources.pids is None or resources.pids.limit <= 0:
        return resources
    return msgspec.structs.replace(
        resources, pids=spec.Pids(limit=resources.pids.limit + _ENGINE_TASKS)
    )


def clone_flags(config: spec.Spec, *, shared_network: bool) -> int:
    """CLONE_NEW… flags of the namespaces to make.

    With `shared_network` containers that will never have a network share an empty one, and are
    made without one of their own.
    """
    flags = sys.CLONE_NEWNS
    for namespace in config.linux.namespaces or () if config.linux else ():
        if namespace.type == "network" and shared_network and not wants_network(config):
            continue
        if not namespace.path:
            flags |= _CLONE_FLAGS.get(namespace.type, 0)
    return flags


def shared_pids(config: spec.Spec) -> str:
    """Path of the pid namespace to share, as pods with `shareProcessNamespace` do; else empty."""
    namespaces = (config.linux.namespaces if config.linux else None) or ()
    return next((space.path for space in namespaces if space.type == "pid" and space.path), "")


def understand(packet: bytes, cgroup: Cgroup) -> messages.Message:
    """What a process says while it is made: that it is built, is ready, or needs code.

    Raises LaunchError if it has failed, has died or sends nonsense.
    """
    if not packet:
        raise LaunchError(_why_it_died(cgroup))
    try:
        message = messages.decode_any(packet)
    except msgspec.DecodeError:
        raise LaunchError("the container's process sent nonsense") from None
    if isinstance(message, messages.Failed):
        raise LaunchError(message.message, message.exit_code)
    return message


def find_code(cache: CodeCache, module: int, wanted: messages.NeedCode) -> CompiledCode | None:
    """The code of the program open as `module` if it is at hand; None if it must be compiled.

    Raises NotWasm if it cannot be.
    """
    code = cache.peek(module, bounded=wanted.bounded)
    if code is None and not is_meant_as_wasm(module, wanted.name):
        raise NotWasm(wanted.name)
    return code


@contextlib.contextmanager
def answering(control: socket.socket, module: int) -> Iterator[None]:
    """While the code of `module` is found and given: why that cannot be is an answer, too.

    Closes `module`. NotWasm is for the caller.
    """
    try:
        yield
    except NotWasm:
        raise
    except (LaunchError, OSError) as error:
        exit_code = error.exit_code if isinstance(error, LaunchError) else ENGINE_FAILED
        try_send(control, messages.Failed(str(error), exit_code), [])
    finally:
        os.close(module)


def give(control: socket.socket, code: CompiledCode) -> None:
    """Answer a container that needs code; closes the code's descriptor."""
    try:
        try_send(control, messages.Code(code.facts, code.program, code.path), [code.descriptor])
    finally:
        os.close(code.descriptor)


def try_send(control: socket.socket, message: messages.Message, descriptors: list[int]) -> None:
    """Send to a container that may have died: then the next receive says so."""
    with contextlib.suppress(OSError):
        messages.send(control, message, descriptors)


def _why_it_died(cgroup: Cgroup) -> str:
    """A phrase for a container whose process ended while it was made."""
    if cgroup.stats().oom_kills:
        return "its memory limit is too small to start in"
    return "its process ended before it was ready"
