"""A virtual machine with Debian's own kernel, for what this machine's kernel has not: cgroup v2.

It boots in seconds under qemu's software emulation, without a disk: its root is this machine's,
read-only, with folders of its own for /tmp and /run. What runs in it is slow by an order of
magnitude, so little does.
"""

from __future__ import annotations

import base64
import fcntl
import shutil
import subprocess
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from tests.peers import CACHE, PeerMissing, program

PROJECT = Path(__file__).resolve().parent.parent

_MODULES = (
    "drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci",
    "fs/netfs/netfs", "fs/fscache/fscache",
    "net/9p/9pnet", "net/9p/9pnet_virtio", "fs/9p/9p", "fs/overlayfs/overlay",
)  # fmt: skip
"""In the order in which they need each other."""

_INIT = r"""#!/bin/busybox sh
alias b=/bin/busybox
b mount -t proc proc /proc
b mount -t devtmpfs dev /dev
b mount -t sysfs sys /sys
for module in {modules}; do b insmod /$module.ko; done
b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /new
for folder in proc dev sys; do b mount --move /$folder /new/$folder; done
project=$(b sed 's/.*wherry.project=\([^ ]*\).*/\1/' /new/proc/cmdline | b base64 -d)
b mkdir /project
b mount --bind "/new$project" /project
for folder in tmp run; do b mount -t tmpfs $folder /new/$folder; done
b mkdir -p "/new$project"  # it may lie in /tmp
b mount --move /project "/new$project"
b mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
b mkdir -p /new/dev/pts /new/dev/shm
b mount -t devpts devpts /new/dev/pts
b mount -t tmpfs shm /new/dev/shm
b ifconfig lo 127.0.0.1 up
command=$(b sed 's/.*wherry.command=//' /new/proc/cmdline | b base64 -d)
b chroot /new /bin/sh -c "$command" </new/dev/null
b echo "{status}$?"
b poweroff -f
"""
_STATUS = "the command's status: "


@dataclass(frozen=True)
class Outcome:
    """What a command said on the machine's console, and its exit status."""

    status: int
    output: str


class VirtualMachine:
    """Boots Debian's kernel to run a command, once for each."""

    def __init__(self) -> None:
        """Fetch the kernel if that was never done. Raises PeerMissing."""
        self._qemu = program("qemu-system-x86_64")
        self._folder = CACHE / "kernel"
        self._folder.mkdir(parents=True, exist_ok=True)
        version = zlib.crc32(f"{_INIT}{_MODULES}".encode())
        self._initrd = self._folder / f"initrd-{version:08x}"
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._initrd.exists():
                self._make()

    def run(self, command: str, seconds: float = 900) -> Outcome:
        """Boot, run `command` with sh, and power off."""
        project, line = (
            base64.b64encode(text.encode()).decode() for text in (str(PROJECT), command)
        )
        argv = [
            self._qemu, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048",
            "-kernel", str(self._folder / "vmlinuz"), "-initrd", str(self._initrd),
            "-append",
            f"console=ttyS0 panic=-1 quiet wherry.project={project} wherry.command={line}",
            "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,"
            "multidevs=remap",
            "-nographic", "-no-reboot", "-nic", "none",
        ]  # fmt: skip
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
            errors="replace",
        )  # fmt: skip
        output, found, rest = done.stdout.rpartition(_STATUS)
        status = int(rest.split()[0]) if found else -1
        return Outcome(status, (output or done.stdout) + done.stderr)

    def _make(self) -> None:
        with tempfile.TemporaryDirectory(dir=self._folder) as temporary:
            folder = Path(temporary)
            kernel = _fetch_kernel(folder)
            root = folder / "root"
            for name in ("bin", "new", "proc", "dev", "sys"):
                (root / name).mkdir(parents=True)
            shutil.copy2(program("busybox"), root / "bin" / "busybox")
            for module in _MODULES:
                (source,) = kernel.glob(f"lib/modules/*/kernel/{module}.ko")
                shutil.copy2(source, root)
            names = " ".join(Path(module).name for module in _MODULES)
            (root / "init").write_text(_INIT.format(modules=names, status=_STATUS))
            (root / "init").chmod(0o755)
            (image,) = kernel.glob("boot/vmlinuz-*")
            shutil.copy2(image, self._folder / "vmlinuz")
            listing = "\n".join(str(path.relative_to(root)) for path in root.rglob("*"))
            with (folder / "initrd").open("wb") as out:
                subprocess.run(
                    [program("cpio"), "--quiet", "-o", "-H", "newc"],
                    cwd=root, input=listing.encode(), stdout=out, check=True,
                )  # fmt: skip
            (folder / "initrd").rename(self._initrd)


def _fetch_kernel(folder: Path) -> Path:
    """Debian's newest kernel, unpacked below `folder`. Raises PeerMissing."""
    meta = _output("apt-cache", "depends", "linux-image-amd64")
    names = [line.split()[-1] for line in meta.splitlines() if "Depends: linux-image-" in line]
    if not names:
        raise PeerMissing("Debian's kernel (linux-image-amd64) is not to be had")
    folder.chmod(0o755)
    fetched = subprocess.run(
        ["apt-get", "download", "-qq", names[0]], cwd=folder, capture_output=True, text=True
    )
    if fetched.returncode:
        raise PeerMissing(f"Debian's kernel cannot be fetched: {fetched.stderr.strip()[-200:]}")
    (package,) = folder.glob("*.deb")
    unpacked = folder / "unpacked"
    subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
    return unpacked


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise PeerMissing(f"{error.filename} is not installed") from None
