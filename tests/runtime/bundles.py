"""Bundles for tests of the runtime, and one run of one."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from wherry.oci.runtime import Mount
from wherry.runtime import CreateRequest, Launcher, Process

WASI_HELLO = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello\\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""

WAITS_FOR_STDIN = """(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 1))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


@dataclass
class Bundle:
    """A bundle with an overlay of one image layer."""

    path: Path
    config: dict[str, Any]

    @property
    def image(self) -> Path:
        """The directory that is the image's only layer."""
        return self.path / "layer"

    def put(self, name: str, content: str | bytes) -> None:
        """Write a file into the image."""
        target = self.image / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def request(self, stdin: int, stdout: int, stderr: int) -> CreateRequest:
        """Write config.json and describe the container."""
        (self.path / "config.json").write_bytes(msgspec.json.encode(self.config))
        options = [f"lowerdir={self.image}", f"upperdir={self.path}/upper"]
        overlay = Mount(
            destination="",
            type="overlay",
            source="overlay",
            options=[*options, f"workdir={self.path}/work"],
        )
        return CreateRequest(
            id=self.path.name,
            bundle=str(self.path),
            rootfs=(overlay,),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )


def make_bundle(path: Path, *args: str) -> Bundle:
    """A bundle that runs `args`, /main.wasm by default."""
    for name in ("rootfs", "layer", "upper", "work"):
        (path / name).mkdir(parents=True)
    kinds = ("pid", "mount", "ipc", "uts", "network")
    config: dict[str, Any] = {
        "ociVersion": "1.1.0",
        "root": {"path": "rootfs"},
        "process": {"args": list(args) or ["/main.wasm"], "cwd": "/", "env": ["LANG=C.UTF-8"]},
        "hostname": "guest",
        "linux": {
            "namespaces": [{"type": kind} for kind in kinds],
            "cgroupsPath": f"/wherry-test-{os.getpid()}/{path.name}",
        },
    }
    return Bundle(path, config)


@dataclass
class Outcome:
    """How a container ended: status (negative is a signal) and what it wrote."""

    status: int
    stdout: bytes
    stderr: bytes


async def run(
    launcher: Launcher,
    bundle: Bundle,
    stdin: bytes = b"",
    while_running: Callable[[Process], Awaitable[None]] | None = None,
) -> Outcome:
    """Run the bundle's container to its end. Output is bounded by what a pipe holds (64 KiB)."""
    pipes = [os.pipe() for _ in range(3)]
    if stdin:
        os.write(pipes[0][1], stdin)
    if while_running is None:
        os.close(pipes[0][1])
    try:
        process = await launcher.create(bundle.request(pipes[0][0], pipes[1][1], pipes[2][1]))
    finally:
        for fd in (pipes[0][0], pipes[1][1], pipes[2][1]):
            os.close(fd)
    signals: list[int] = []
    try:
        await process.start(signals.append)
    except BaseException:
        # It ends by itself, but the next container of this name wants its cgroup gone.
        await reap(process)
        for fd in (pipes[1][0], pipes[2][0]):
            os.close(fd)
        raise
    if while_running is not None:
        await while_running(process)
        os.close(pipes[0][1])
    status = await reap(process)
    with os.fdopen(pipes[1][0], "rb") as out, os.fdopen(pipes[2][0], "rb") as err:
        return Outcome(status, out.read(), err.read())


async def reap(process: Process) -> int:
    """Wait for the end of a container and clean up after it; a negative status is a signal."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(process.pidfd, gone.set)
    await gone.wait()
    loop.remove_reader(process.pidfd)
    result = os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED)
    assert result is not None
    await process.close()
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
