"""wherry itself: its version, its commands, its engine, where it keeps what it compiles."""

import os
import platform
import subprocess
import sys

from wherry import __version__
from wherry.install.doctor.finding import Finding, missing, ok, warning
from wherry.install.errors import InstallError
from wherry.install.host import Host
from wherry.install.ledger import Ledger
from wherry.install.package import Package, command_line, parts, weak_spots
from wherry.places import data_folder

_SECONDS = 20
_ENGINE = (
    "import importlib.metadata as m, wasmtime; wasmtime.Engine(); print(m.version('wasmtime'))"
)


def package() -> list[Finding]:
    """The commands, and whether root's daemons could and should run them."""
    subject = "wherry"
    version = f"{__version__}, Python {platform.python_version()} ({sys.executable})"
    try:
        found = Package.find(Host())
    except InstallError as error:
        return [ok(subject, version), missing(subject, str(error))]
    findings = [ok(subject, version)]
    if not found.works:
        findings.append(
            warning(subject, f"{found.bin} works in your environment only; install makes launchers")
        )
    own, others = weak_spots(parts())
    if others:
        findings.append(
            warning(subject, f"{others[0]}: others than you and root may write there",
                    "python3 -m venv /opt/wherry (as root) is the safe place")
        )  # fmt: skip
    elif own and os.geteuid() == 0:
        findings.append(warning(subject, f"{own[0]} is not root's own, and root's daemons run it"))
    return findings + _ledger()


def _ledger() -> list[Finding]:
    """Where wherry was put in, and by which version."""
    try:
        ledger = Ledger(Host())
    except InstallError as error:
        if os.geteuid():
            return [ok("wherry", "only root may see where it is installed in other engines")]
        return [warning("wherry", str(error))]
    if not ledger.owners:
        return []
    where = ", ".join(ledger.owners)
    if ledger.wherry != __version__:
        again = command_line(f"install {ledger.owners[0]}")
        return [warning("wherry", f"put into {where} by version {ledger.wherry}", again)]
    return [ok("wherry", f"is put into {where}")]


def engine() -> list[Finding]:
    """Whether the Wasm engine loads, in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _ENGINE],
            check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [missing("engine", f"wasmtime did not load within {_SECONDS} seconds")]
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        hint = f"{sys.executable} -m pip install --force-reinstall wasmtime"
        return [missing("engine", f"wasmtime does not load: {reason}", hint)]
    return [ok("engine", f"wasmtime {done.stdout.strip()} loads")]


def store() -> list[Finding]:
    """Whether images and compiled code can be kept."""
    folder = data_folder()
    existing = folder
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if not os.access(existing, os.W_OK | os.X_OK):
        return [missing("store", f"{existing}: no right to write", "set WHERRY_ROOT to a folder")]
    status = os.statvfs(existing)
    free = status.f_bavail * status.f_frsize
    where = "compiled code and images are kept in"
    if free < 256 << 20:
        return [warning("store", f"{where} {folder}, where {free >> 20} MiB are free")]
    return [ok("store", f"{where} {folder}")]
