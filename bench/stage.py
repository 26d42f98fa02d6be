"""What the rows play on: a private engine, guests, and the peers that are there."""

from __future__ import annotations

import contextlib
import subprocess
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from tests import peers
from tests.debian import MachineDockerd, Suite, SuiteMissing
from tests.engine_under_test import Wherry
from tests.guests.toolchain import EXAMPLES, PROJECT, GuestMissing, Guests

T = TypeVar("T")


class Missing(Exception):
    """A peer that is not on this machine; the message names it."""


class Stage:
    """Starts each thing when a row first asks for it; `stack` ends them all."""

    def __init__(self, stack: contextlib.ExitStack, *, runs: int, many: int) -> None:
        self._stack = stack
        self.runs = runs
        self.many = many

    def enter(self, context: contextlib.AbstractContextManager[T]) -> T:
        """Enter `context` for as long as the stage stands."""
        return self._stack.enter_context(context)

    @cached_property
    def guests(self) -> Guests:
        return Guests(PROJECT / ".guests")

    @cached_property
    def wherry(self) -> Wherry:
        """An engine with the image `hello`."""
        engine = self._stack.enter_context(Wherry())
        engine.ok("build", "-q", "-t", "hello", EXAMPLES / "hello")
        return engine

    @cached_property
    def dockerd(self) -> peers.Dockerd:
        """A dockerd with the image `busybox`; Missing without one."""
        try:
            daemon = self._stack.enter_context(peers.dockerd())
            rootfs = peers.busybox_rootfs()
        except (peers.PeerMissing, peers.PeerFailed) as error:
            raise Missing(f"dockerd: {error}") from None
        subprocess.run(
            daemon.argv("import", "-", "busybox"), input=rootfs, check=True, capture_output=True
        )
        return daemon

    @cached_property
    def docker(self) -> MachineDockerd:
        """Docker 26 with wherry's shim, and the images `hello` and `busybox`; Missing without."""
        try:
            machine = self._stack.enter_context(Suite("trixie").machine())
            docker = self._stack.enter_context(machine.dockerd())
            rootfs = peers.busybox_rootfs()
        except (peers.PeerMissing, peers.PeerFailed, SuiteMissing) as error:
            raise Missing(f"Docker 26: {error}") from None
        archive = machine.folder / "hello.tar"
        self.wherry.ok("save", "-o", archive, "hello")
        done = docker.docker("load", "--platform", "wasi/wasm", "-i", str(archive))
        if done.returncode != 0:
            done = docker.docker("load", "-i", str(archive))
        assert done.returncode == 0, done.stderr
        subprocess.run(
            docker.argv("import", "-", "busybox"), input=rootfs, check=True, capture_output=True
        )
        return docker

    @cached_property
    def containerd(self) -> peers.Containerd:
        """A containerd that finds wherry's shim; Missing without one."""
        try:
            return self._stack.enter_context(peers.containerd(path=peers.path_with_shim()))
        except (peers.PeerMissing, peers.PeerFailed) as error:
            raise Missing(f"containerd: {error}") from None

    @cached_property
    def wasmtime(self) -> str:
        """The `wasmtime` command; Missing without it."""
        try:
            return str(self.guests.wasmtime())
        except GuestMissing as error:
            raise Missing(f"wasmtime: {error}") from None

    def precompiled(self, module: Path) -> list[str]:
        """The command line that runs `module` with `wasmtime`, compiled beforehand."""
        target = self.wherry.folder / f"{module.stem}.cwasm"
        if not target.exists():
            subprocess.run([self.wasmtime, "compile", "-o", target, module], check=True)
        return [self.wasmtime, "run", "--allow-precompiled", str(target)]
