"""A Linux image for tests: a static busybox with all its programs, and one that asks the kernel."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.conftest import busybox, without

_USERS = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n"
_GROUPS = "root:x:0:\nweb:x:1000:\nwheel:x:10:web\n"


def context(folder: Path) -> Path:
    """A build context in `folder`; the image is of this machine's platform."""
    program = busybox()
    programs = folder / "bin"
    programs.mkdir(parents=True)
    shutil.copy(program, programs / "busybox")
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    for name in names.stdout.split():
        if name != "busybox":
            (programs / name).symlink_to("busybox")
    (folder / "etc").mkdir()
    (folder / "etc" / "passwd").write_text(_USERS)
    (folder / "etc" / "group").write_text(_GROUPS)
    (folder / "Dockerfile").write_text(
        "FROM scratch\nCOPY bin /bin\nCOPY etc /etc\n"
        'ENV PATH=/bin\nSTOPSIGNAL SIGTERM\nCMD ["sh", "-c", "echo hello from linux"]\n'
    )
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755)
    return folder


def probe(folder: Path) -> Path:
    """The program that tries system calls, linked statically. Without a compiler, skips."""
    compiler = shutil.which("cc")
    target = folder / "probe"
    source = Path(__file__).with_name("probe.c")
    if compiler is None:
        without("there is no C compiler (apt install gcc libc6-dev)")
    done = subprocess.run(
        [compiler, "-static", "-O1", "-o", target, source], capture_output=True, text=True
    )
    if done.returncode:
        without(f"the C compiler makes no static program: {done.stderr.strip()[-200:]}")
    return target
