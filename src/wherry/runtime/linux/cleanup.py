"""Deleting a Linux container whose shim is gone."""

import contextlib
import os
import signal
import subprocess
import time

from wherry.oci import runtime as spec
from wherry.runtime.config import read_config
from wherry.runtime.exits import LaunchError
from wherry.runtime.linux import note, rootfs
from wherry.runtime.linux.runtime import OciRuntime, environment, last_error, memory_file
from wherry.runtime.sandbox.cgroups import Cgroup, CgroupError
from wherry.runtime.sandbox.cgroups.cgroup import (
    PATIENCE,
    processes_beneath,
    remove_folder,
    send_signal,
)
from wherry.runtime.sandbox.cgroups.hierarchies import of_this_process
from wherry.runtime.sandbox.cgroups.unbounded import UnboundedCgroup

_PATIENCE = 25.0
"""Seconds; containerd waits 30 for all of a clean-up."""


def delete(bundle: str, id: str, state: str, cgroup: str) -> None:
    """End the Linux container of a bundle, if it has one, and remove what it used. Blocks.

    `state` is where its runtime keeps state; `cgroup` what the container was put into, or empty
    for the one that its bundle names. Raises LaunchError; then the bundle's note stays.
    """
    found = note.find(bundle)
    if found is None:
        return
    # The shim may have been killed before the runtime had written down what it made; and a runtime
    # may wait in vain for processes that are frozen.
    group = _cgroup(bundle, cgroup)
    group.kill()
    _call_delete(OciRuntime(found.program, state, found.systemd_cgroup, (0, 0)), id)
    try:
        group.delete()
        for folder in _folders(group.path):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if found.root is not None:
            rootfs.unmount(found.root)
    except OSError as error:
        raise LaunchError(f"what container {id} leaves behind: {error}") from None
    note.forget(bundle)


def remove_group(bundle: str, id: str) -> None:
    """End and remove what lies in the container's own cgroup. Blocks; never fails.

    For after its runtime has deleted it: one that was killed while it made the container had not
    written down yet that there is one, or had not made all of it.
    """
    path = _cgroup(bundle, "").path
    if os.path.basename(path) != id:  # another may be shared
        return
    folders = _folders(path)
    deadline = time.monotonic() + PATIENCE

    def pids() -> list[int]:
        return [pid for folder in folders for pid in processes_beneath(folder)]

    with contextlib.suppress(OSError):
        for pid in pids():
            send_signal(pid, signal.SIGKILL)
        for folder in folders:
            while not remove_folder(folder, pids, deadline):
                pass


def _call_delete(runtime: OciRuntime, id: str) -> None:
    with memory_file(b"") as log:
        try:
            done = subprocess.run(
                runtime.argv("delete", "--force", id, log=log.path),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment(),
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LaunchError(f"{runtime.name} delete: no answer within {_PATIENCE:g} s") from None
        except OSError as error:
            raise LaunchError(f"{runtime.program}: {error.strerror}") from None
        if done.returncode:
            said = last_error(log.read()) or f"ended with {done.returncode}"
            raise LaunchError(f"{runtime.name} delete: {said}")


def _folders(path: str) -> set[str]:
    """Where a group may be: of all controllers, and where v2 stands without any beside v1."""
    found = of_this_process()
    return {home + path for each in ("", *found.legacy) for home in found.homes(each)}


def _cgroup(bundle: str, known: str) -> Cgroup:
    try:
        linux = read_config(bundle).linux or spec.Linux()
        return Cgroup.attach_existing(known or linux.cgroups_path)
    except (LaunchError, CgroupError):
        return UnboundedCgroup(f"/wherry/{os.path.basename(bundle)}")
