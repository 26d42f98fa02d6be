"""A Linux container as runc and crun run it from a bundle: the peer of a container of ours."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.stage import Missing
from tests import peers

UNIFIED = Path("/sys/fs/cgroup/unified")


@contextlib.contextmanager
def linux_echo(runtime: str) -> Iterator[list[str]]:
    """The command line that runs a Linux echo in a new container with `runtime`.

    Raises:
        Missing: there is no such runtime, or it cannot run containers here.
    """
    try:
        program = peers.program(runtime)
        rootfs = peers.busybox_rootfs()
    except peers.PeerMissing as error:
        raise Missing(str(error)) from None
    with tempfile.TemporaryDirectory() as folder, _place_for(runtime) as prefix:
        bundle = Path(folder) / "bundle"
        (bundle / "rootfs").mkdir(parents=True)
        subprocess.run(["tar", "-xC", bundle / "rootfs"], input=rootfs, check=True)
        subprocess.run([program, "spec"], cwd=bundle, check=True)
        config = json.loads((bundle / "config.json").read_text())
        config["process"] |= {"args": ["/bin/echo", "hello"], "terminal": False}
        (bundle / "config.json").write_text(json.dumps(config))
        argv = [*prefix, program, "--root", f"{folder}/state", "run", "--bundle", str(bundle)]
        tried = subprocess.run([*argv, "tried"], capture_output=True, text=True)
        if tried.returncode != 0:
            raise Missing(f"{runtime} cannot run here: {tried.stderr.strip()}")
        yield [*argv, "measured"]


@contextlib.contextmanager
def _place_for(runtime: str) -> Iterator[list[str]]:
    """A command to run `runtime` by: crun refuses cgroups v1 with a v2 beside them."""
    if runtime != "crun" or not UNIFIED.exists():
        yield []
        return
    script = f"umount {UNIFIED} && echo ready && exec cat"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        if not holder.stdout.readline():
            raise Missing("crun cannot run here: cgroups v1 and v2 are mixed")
        yield ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--"]
        holder.kill()
