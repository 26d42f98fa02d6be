"""The cgroup of one container, whichever version the host has."""

from __future__ import annotations

import os
import select
import signal
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from wherry.runtime.sandbox.cgroups import control_file, hierarchies
from wherry.runtime.sandbox.cgroups.control_file import CgroupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.oci.runtime import Resources
    from wherry.runtime.sandbox.cgroups.hierarchies import Hierarchies
    from wherry.runtime.sandbox.cgroups.statistics import CgroupStats

PATIENCE = 10.0
"""Seconds that `freeze` and `delete` wait for the kernel before they give up."""


class Cgroup(ABC):
    """The cgroup of one container. All methods are quick, but they block; see each.

    `path` is where it lies beneath its hierarchies; `missing` says which of the limits asked for
    bound nothing here, a phrase each ("memory limit: no memory controller").
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.missing: list[str] = []

    @staticmethod
    def create(path: str, resources: Resources | None, found: Hierarchies | None = None) -> Cgroup:
        """Make the group `path` (an OCI cgroupsPath) with the limits of `resources`.

        An empty group of that name left behind is replaced. `found` is the host's own layout
        unless a test says otherwise. Raises CgroupError; then nothing is left behind.
        """
        path = hierarchies.plain_path(path)
        group = _of_host(path, found or hierarchies.of_this_process())
        try:
            if not group._make():
                group = _unbounded(path)
            if resources is not None:
                group.update(resources)
        except BaseException:
            group.delete()
            raise
        return group

    @staticmethod
    def attach_existing(path: str, found: Hierarchies | None = None) -> Cgroup:
        """Find the group that `create(path, …)` made, for whoever restarted since.

        A group that is gone is no error: it has no processes and its `delete` does nothing.
        """
        path = hierarchies.plain_path(path)
        group = _of_host(path, found or hierarchies.of_this_process())
        return group if group._find() else _unbounded(path)

    @property
    @abstractmethod
    def procs_files(self) -> list[str]:
        """Files to which a process with one thread writes "0" to join every controller.

        Open them before entering a mount namespace. On v1 these are the `tasks` files, since a
        thread that moves only itself does not wait for an RCU grace period (up to 20 ms). When
        there are none, `add` the process, so that it is at least measured.
        """

    def tell_of(self, pid: int) -> None:  # noqa: B027 (the kernel knows of most)
        """Say that a process is in the group, to one of which the kernel does not know it."""

    @abstractmethod
    def update(self, resources: Resources) -> None:
        """Set the limits that `resources` names and leave the others. Raises CgroupError."""

    @abstractmethod
    def stats(self) -> CgroupStats:
        """Measure now. Never fails: of a group that is gone everything is 0."""

    @abstractmethod
    def freeze(self) -> None:
        """Stop all processes and wait until they have stopped. Raises CgroupError."""

    @abstractmethod
    def thaw(self) -> None:
        """Let frozen processes go on. Raises CgroupError."""

    @abstractmethod
    def pids(self) -> list[int]:
        """Return the processes in the group and those beneath, as this pid namespace numbers them.

        A Wasm container has none beneath; systemd in a Linux container makes many.
        """

    def kill(self) -> None:
        """Send SIGKILL to every process, frozen ones too. Does not wait for their end."""
        told: set[int] = set()
        # A process with a SIGKILL coming forks no more, so this ends when nobody new turns up.
        while new := set(self.pids()) - told:
            for pid in new:
                send_signal(pid, signal.SIGKILL)
            told |= new

    @abstractmethod
    def oom_event(self) -> int | None:
        """Return a new descriptor that polls readable when the group ran out of memory.

        It may be readable early: read it (up to 4 KiB) and see whether `stats().oom_kills` grew.
        The caller closes it. None when the host cannot tell.
        """

    @abstractmethod
    def delete(self) -> None:
        """Remove the group, waiting for processes that are about to end. May be repeated.

        Raises CgroupError when processes are still there after ten seconds.
        """

    def _make(self) -> bool:
        """Make the folders; False when this user may make none at all."""
        return False

    def _find(self) -> bool:
        """Look the folders up; False when there are none."""
        return False


def send_signal(pid: int, number: int) -> None:
    """Signal a process that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def processes_beneath(folder: str) -> list[int]:
    """Return the processes in a cgroup's folder and its subfolders; none when it is gone."""
    text = control_file.read(f"{folder}/cgroup.procs") or ""
    pids = [pid for pid in map(int, text.split()) if pid]
    # Besides "." and its name in its parent, a folder has a link for each subfolder.
    try:
        if os.stat(folder).st_nlink > 2:
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    pids += processes_beneath(entry.path)
    except FileNotFoundError:
        pass
    return pids


def make_folder(folder: str) -> None:
    """Make the folder of a cgroup and its parents, replacing an empty one of that name.

    Raises OSError; EBUSY when the group is there and in use.
    """
    try:
        os.mkdir(folder)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        make_folder(folder)
    except FileExistsError:
        # A new folder starts its counters at zero and without yesterday's limits.
        os.rmdir(folder)
        os.mkdir(folder)


def remove_folder(folder: str, pids: Callable[[], list[int]], deadline: float) -> bool:
    """Try once to remove a cgroup's folder; wait for one of the `pids` in it if it is in use.

    Returns whether it is gone. Raises CgroupError after `deadline` (of time.monotonic).
    """
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        _remove_children(folder)
        left = deadline - time.monotonic()
        if left <= 0:
            who = ", ".join(map(str, pids())) or error.strerror
            raise CgroupError(f"cannot remove cgroup {folder}: still in use ({who})") from None
        _wait_for_end(pids(), left)
        return False
    return True


def _of_host(path: str, found: Hierarchies) -> Cgroup:
    # Imported here so that a process loads only the version its host has.
    if found.is_unified:
        from wherry.runtime.sandbox.cgroups.unified import UnifiedCgroup

        return UnifiedCgroup(path, found)
    from wherry.runtime.sandbox.cgroups.legacy import LegacyCgroup

    return LegacyCgroup(path, found)


def _unbounded(path: str) -> Cgroup:
    from wherry.runtime.sandbox.cgroups.unbounded import UnboundedCgroup

    return UnboundedCgroup(path)


def _remove_children(folder: str) -> None:
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        child = f"{folder}/{name}"
        if os.path.isdir(child) and not os.path.islink(child):
            _remove_children(child)
            try:
                os.rmdir(child)
            except OSError:
                continue


def _wait_for_end(pids: list[int], seconds: float) -> None:
    """Wait for the first of some processes to end."""
    poll = select.poll()
    descriptors = []
    try:
        for pid in pids:
            try:
                descriptors.append(os.pidfd_open(pid))
            except ProcessLookupError:
                return
            poll.register(descriptors[-1], select.POLLIN)
        if descriptors:
            poll.poll(seconds * 1000)
        else:
            os.sched_yield()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
