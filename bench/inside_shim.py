"""The shim alone: from a create request to the container's first byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from bench.stage import Stage
from bench.timing import Attempt

from wherry.oci.runtime import NETWORK, Mount
from wherry.shim.client import TaskClient, start_shim

RUNTIME = "io.containerd.wherry.v1"


@contextlib.contextmanager
def driven(stage: Stage, *, network: bool) -> Iterator[Attempt]:
    """A shim of its own; the attempt creates, starts, reads and deletes one container.

    With `network`, as Docker and containerd ask for it, it gets a network namespace of its own.
    """
    folder = stage.wherry.folder / f"shim-{network}"
    folder.mkdir()
    _layer(folder, stage)
    bundles = (_bundle(folder / f"bundle-{n}", network=network) for n in range(1_000_000))
    with patch.dict(os.environ, stage.wherry.environment), asyncio.Runner() as runner:
        first = next(bundles)
        address = runner.run(
            start_shim(
                runtime=RUNTIME, namespace=folder.name, id=first.name, bundle=first,
                events_address=str(folder / "no-events"),
            )
        )  # fmt: skip
        task = runner.run(TaskClient.connect(address))

        def attempt() -> float:
            return runner.run(_once(task, next(bundles)))

        try:
            yield attempt
        finally:
            runner.run(task.shutdown(now=True))
            task.close()


def _bundle(folder: Path, *, network: bool) -> Path:
    for name in ("rootfs", "upper", "work"):
        (folder / name).mkdir(parents=True)
    kinds = ("pid", "mount", "ipc", "uts", "network")
    config = {
        "ociVersion": "1.1.0",
        "process": {
            "args": ["/main.wasm", "hello"], "cwd": "/", "env": [],
            "user": {"uid": 0, "gid": 0}, "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "annotations": {} if network else {NETWORK: "none"},
        "linux": {
            "namespaces": [{"type": kind} for kind in kinds],
            "cgroupsPath": f"/wherry-bench/{folder.name}",
            "resources": {"pids": {"limit": 64}},
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    os.mkfifo(folder / "stdout")
    return folder


def _layer(folder: Path, stage: Stage) -> None:
    """The image's only layer, unpacked once and shared, as images are."""
    (folder / "layer").mkdir()
    shutil.copy(stage.guests.wasm("environ"), folder / "layer" / "main.wasm")


def _overlay(bundle: Path) -> Mount:
    options = [
        f"lowerdir={bundle.parent}/layer",
        f"upperdir={bundle}/upper",
        f"workdir={bundle}/work",
    ]
    return Mount(destination="", type="overlay", source="overlay", options=options)


async def _once(task: TaskClient, bundle: Path) -> float:
    pipe = os.open(bundle / "stdout", os.O_RDONLY | os.O_NONBLOCK)
    try:
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        await task.create(
            id=bundle.name,
            bundle=str(bundle),
            rootfs=(_overlay(bundle),),
            stdout=str(bundle / "stdout"),
        )
        loop.add_reader(pipe, readable.set)
        await task.start(bundle.name)
        await readable.wait()
        taken = time.perf_counter() - began
        loop.remove_reader(pipe)
        assert os.read(pipe, 1), "the container wrote nothing"
        await task.wait(bundle.name)
        await task.delete(bundle.name)
    finally:
        os.close(pipe)
    shutil.rmtree(bundle)
    return taken * 1000
