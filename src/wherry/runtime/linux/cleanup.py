"""Deleting a Linux container whose shim is gone."""

import contextlib
import os
import subprocess

from wherry.oci import runtime as spec
from wherry.runtime.config import read_config
from wherry.runtime.exits import LaunchError
from wherry.runtime.linux import note, rootfs
from wherry.runtime.linux.runtime import OciRuntime, environment, last_error, memory_file
from wherry.runtime.sandbox.cgroups import Cgroup, CgroupError
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
        _remove_from_hybrid(group.path)
        if found.root is not None:
            rootfs.unmount(found.root)
    except OSError as error:
        raise LaunchError(f"what container {id} leaves behind: {error}") from None
    note.forget(bundle)


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


def _remove_from_hybrid(path: str) -> None:
    """Remove what runc makes in a v2 hierarchy that stands, without controllers, beside v1."""
    found = of_this_process()
    for home in () if found.is_unified else found.homes():
        with contextlib.suppress(OSError):
            os.rmdir(home + path)


def _cgroup(bundle: str, known: str) -> Cgroup:
    try:
        linux = read_config(bundle).linux or spec.Linux()
        return Cgroup.attach_existing(known or linux.cgroups_path)
    except (LaunchError, CgroupError):
        return UnboundedCgroup(f"/wherry/{os.path.basename(bundle)}")
