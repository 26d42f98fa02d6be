"""HTTP servers to put a load on: nginx, the `wasmedge` and `wasmtime` commands, and wherry's.

All run in one pretended machine with a network of its own: what they and wrk send stays in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.stage import Missing
from tests import peers
from tests.debian import Suite, SuiteMissing
from tests.engine_under_test import Wherry
from tests.network.machine import INSIDE, NOBODY, Machine

_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/log;
user root;
events {{ }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {port};
        default_type text/plain;
        location / {{ return 200 "hello from nginx\\n"; }}
    }}
}}
"""


_PATIENCE = 600
"""How often a server that starts is asked, a tenth of a second apart."""


@dataclass(frozen=True)
class Container:
    """The URLs of one container's server, for clients on its machine."""

    direct: str
    """At the container's own address."""
    published: str
    """At its published port, by an address of the machine's."""
    loopback: str
    """At its published port, by the loopback address."""


class Servers:
    """The machine and what serves in it; `stack` ends them all. Raises Missing."""

    def __init__(self, stack: contextlib.ExitStack, cache: Path) -> None:
        try:
            peers.program("nsenter")
            self.machine = stack.enter_context(Machine())
        except (peers.PeerMissing, OSError, AssertionError) as error:
            raise Missing(f"a machine to serve in: {error}") from None
        self._stack = stack
        self._cache = cache
        self._ports = iter(range(20_000, 21_000))
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="servers-")))
        self._folder.chmod(0o755)

    def nginx(self) -> str:
        """The URL of an nginx that says hello, with one worker: the limit."""
        try:
            program = peers.program("nginx")
        except peers.PeerMissing as error:
            raise Missing(str(error)) from None
        port = next(self._ports)
        folder = self._folder / f"nginx-{port}"
        folder.mkdir()
        config = folder / "conf"
        config.write_text(_NGINX.format(folder=folder, port=port))
        return self._serve(port, program, "-p", folder, "-c", config, "-e", folder / "log")

    def wasmedge(self, module: Path, words: str, *, compiled: bool) -> str:
        """The URL of a module with WasmEdge's sockets under Debian's `wasmedge`, without a sandbox.

        `compiled` is by its own compiler, beforehand; without, it interprets. `words` are the
        module's argument, in which {port} stands for the port to listen on.
        """
        wasmedge = _debians_wasmedge()
        if compiled:
            key = hashlib.sha256(module.read_bytes()).hexdigest()[:12]
            target = self._cache / f"wasmedge-{key}.aot.wasm"
            if not target.exists():
                fresh = target.with_suffix(".new")
                done = subprocess.run(
                    [*wasmedge, "compile", module, fresh], capture_output=True, text=True
                )
                if done.returncode != 0:
                    raise Missing(f"wasmedge compile: {done.stderr.strip()[-300:]}")
                fresh.rename(target)
            module = target
        port = next(self._ports)
        return self._serve(port, *wasmedge, module, words.format(port=port))

    def wasmtime(self, command: str, component: Path) -> str:
        """The URL of a wasi:http component under `wasmtime serve`, bare."""
        port = next(self._ports)
        return self._serve(port, command, "serve", "-Scli", f"--addr=127.0.0.1:{port}", component)

    def wherry(self, *, root: bool = True, wasmtime: str | None = None) -> Wherry:
        """An engine in the machine, of root's or of an ordinary user's.

        `wasmtime` is the command it finds for what needs one.
        """
        engine = self._stack.enter_context(Wherry(user=None if root else NOBODY))
        engine.within = self.machine.within
        if wasmtime is not None:
            folder = engine.folder / "bin"
            folder.mkdir()
            (folder / "wasmtime").symlink_to(wasmtime)
            engine.environment["PATH"] = f"{folder}:{engine.environment['PATH']}"
        return engine

    def container(
        self, engine: Wherry, module: Path, *words: str, port: int = 8080, flags: Sequence[str] = ()
    ) -> Container:
        """A module in a container of `engine`'s that serves on `port`, published as well."""
        outside = next(self._ports)
        image = engine.image(f"image-{outside}", module)
        name = f"server-{outside}"
        engine.ok("run", "-d", "--name", name, "-p", f"{outside}:{port}", *flags, image, *words)
        address = engine.ok(
            "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name
        )
        container = Container(
            direct=f"http://{address}:{port}/",
            published=f"http://{INSIDE}:{outside}/",
            loopback=f"http://127.0.0.1:{outside}/",
        )
        self._expect(container.loopback, engine.pid(name), lambda: engine("logs", name).said)
        return container

    def _serve(self, port: int, *command: str | Path) -> str:
        """Start a server that listens on `port` and wait until it answers."""
        url = f"http://127.0.0.1:{port}/"
        path = self._folder / f"{port}.log"
        log = self._stack.enter_context(path.open("wb"))
        process = self._stack.enter_context(
            self.machine.background(*command, stdout=log, stderr=log, cwd=self._folder)
        )
        self._expect(url, process.pid, path.read_text)
        return url

    def _expect(self, url: str, pid: int, said: Callable[[], str]) -> None:
        """Wait until a server answers; AssertionError with what it `said` when it ended instead."""
        pidfd = os.pidfd_open(pid)
        try:
            for _ in range(_PATIENCE):
                done = self.machine.run("curl", "-sf", "--max-time", "10", "-o", "/dev/null", url)
                if done.returncode == 0:
                    return
                if select.select([pidfd], [], [], 0.1)[0]:
                    break
            raise AssertionError(f"{url} is not served: {said()[-2000:]}")
        finally:
            os.close(pidfd)


def _debians_wasmedge() -> list[str | Path]:
    """The command line of trixie's `wasmedge`, with trixie's libraries. Raises Missing."""
    try:
        root = Suite("trixie", "wasmedge").root
    except SuiteMissing as error:
        raise Missing(f"wasmedge: {error}") from None
    libraries = next(path.parent for path in root.glob("usr/lib/*/libwasmedge.so*"))
    loader = next(iter([*root.glob("usr/lib*/ld-linux-*"), *libraries.glob("ld-linux-*")]))
    return [loader, "--library-path", libraries, root / "usr/bin/wasmedge"]
