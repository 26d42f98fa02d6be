"""Docker as a person uses it: images built by buildx, containers of wherry's runtime."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.debian import Machine, MachineDockerd
from tests.guests.toolchain import Guests
from tests.peers import busybox_rootfs

RUNTIME = "io.containerd.wherry.v1"
WASM = (f"--runtime={RUNTIME}", "--platform=wasi/wasm")

_TOOL = """
FROM scratch
COPY toolbox.wasm exit.wasm /bin/
COPY environ.wasm trap.wasm grow.wasm loop.wasm /bin/
WORKDIR /data
COPY notes.txt ./
ENV COLOUR=blue
ENTRYPOINT ["/bin/toolbox.wasm"]
CMD ["both"]
"""
_SOCKETS = """
FROM scratch
COPY sockets.wasm /
ENTRYPOINT ["sockets.wasm"]
CMD ["serve", "8000"]
"""


class Docker:
    """A dockerd in a machine, with the images `tool`, `sockets` and, of Linux, `busybox`."""

    def __init__(self, dockerd: MachineDockerd, guests: Guests) -> None:
        self.dockerd = dockerd
        self.machine: Machine = dockerd.machine
        self._guests = guests
        self._folders = 0
        self.build(_TOOL, "tool", ["toolbox", "exit", "environ", "trap", "grow", "loop"])
        self.build(_SOCKETS, "sockets", ["sockets"])
        argv = dockerd.argv("import", "-", "busybox")
        environment = self.machine.environment()
        subprocess.run(argv, input=busybox_rootfs(), env=environment, check=True)

    def folder(self) -> Path:
        """A fresh folder, to bind into containers or build from."""
        self._folders += 1
        folder = self.machine.folder / f"folder-{self._folders}"
        folder.mkdir()
        return folder

    def guest(self, name: str) -> bytes:
        """A guest of tests/guests."""
        made: dict[str, Callable[[], Path]] = {
            "toolbox": self._guests.toolbox,
            "sockets": self._guests.sockets,
            "http": self._guests.http,
            "preopened": lambda: self._guests.c("preopened"),
            "client": lambda: self._guests.go("client"),
        }
        return (made[name]() if name in made else self._guests.wasm(name)).read_bytes()

    def build(
        self, dockerfile: str, tag: str, guests: Sequence[str], platforms: str = "wasi/wasm"
    ) -> None:
        """`docker buildx build` of an image from some guests and notes.txt."""
        context = self.folder()
        (context / "Dockerfile").write_text(dockerfile)
        (context / "notes.txt").write_text("some notes\n")
        for name in guests:
            (context / f"{name}.wasm").write_bytes(self.guest(name))
        self.ok("buildx", "build", "--platform", platforms, "-t", tag, "--load", str(context))

    def __call__(
        self, *args: str, stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """`docker ARGS`."""
        return self.dockerd.docker(*args, input=stdin, timeout=timeout)

    def ok(self, *args: str, stdin: str = "") -> str:
        """What `docker ARGS`, which succeeds, prints."""
        done = self(*args, stdin=stdin)
        said = done.stdout[-500:] + done.stderr[-1500:]
        assert done.returncode == 0, f"docker {' '.join(args)}: {said}"
        return done.stdout.strip()

    def run(
        self, *args: str, image: str = "tool", stdin: str = "", flags: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """`docker run --rm FLAGS IMAGE ARGS` under wherry's runtime."""
        return self("run", "--rm", *WASM, *flags, image, *args, stdin=stdin)

    def start(self, name: str, *args: str, image: str = "tool", flags: Sequence[str] = ()) -> None:
        """`docker run -d --name NAME FLAGS IMAGE ARGS` under wherry's runtime."""
        self.ok("run", "-d", "--name", name, *WASM, *flags, image, *args)

    def inspect(self, name: str, path: str) -> str:
        """One value of `docker inspect`: `.State.ExitCode`."""
        return self.ok("inspect", "-f", f"{{{{json {path}}}}}", name)

    def remove(self, *names: str) -> None:
        """`docker rm -f`, with volumes."""
        self.ok("rm", "-f", "-v", *names)

    def pid(self, name: str) -> str:
        """The container's first process, as the machine knows it."""
        return self.inspect(name, ".State.Pid")


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Return once `true()`; fails after `seconds`. For what Docker tells nobody about."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
