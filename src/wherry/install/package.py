"""The installed wherry itself: its commands, whether a bare daemon can run them, who may change it.

A container engine's daemon runs the shim as root with almost no environment. So the commands must
work without the PATH, HOME and PYTHONPATH of the person who installed wherry, and whoever may
write to them may do as root what they like.
"""

import grp
import os
import pwd
import shlex
import stat
import subprocess
import sys
import sysconfig
from dataclasses import dataclass

import wherry
from wherry.install.errors import InstallError
from wherry.install.host import Host

SHIM = "containerd-shim-wherry-v1"
RUNTIME = "wherry-runtime"
_SLOW_SHIM = "wherry-shim"
BARE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""The environment of a service, as systemd makes it."""

LAUNCHERS = "/usr/local/lib/wherry"
"""Where launchers go if the package's own commands do not work in a bare environment."""

_SECONDS = 20


@dataclass(frozen=True)
class Package:
    """The folder of wherry's commands on the machine it is put into."""

    bin: str
    works: bool
    """Whether the commands run without the environment of the person who installed them."""

    @staticmethod
    def find(host: Host) -> "Package":
        """The package this very command belongs to. Raises InstallError."""
        folder = _scripts()
        if host.is_this_machine:
            return Package(folder, _works_bare(folder))
        missing = [name for name in (SHIM, _SLOW_SHIM, RUNTIME)
                   if host.find_program(name, folder) is None]  # fmt: skip
        if missing:
            raise InstallError(
                f"{host.root}{folder}/{missing[0]}: missing; with --root, wherry must be installed "
                "in that folder at the path it has here"
            )
        return Package(folder, True)

    def launchers(self) -> dict[str, bytes]:
        """Commands that do without the person's environment, by their names in `LAUNCHERS`."""
        with open(f"{self.bin}/{SHIM}", "rb") as file:
            shim = file.read()
        return {
            _SLOW_SHIM: _launcher("wherry.shim.main"),
            RUNTIME: _launcher("wherry.runtime.command"),
            SHIM: shim,
        }


def command_line(words: str) -> str:
    """How a person types a wherry command that needs root: sudo's PATH holds no venv."""
    program = f"{_scripts(None) or os.path.dirname(sys.executable)}/wherry"
    bare = any(os.path.exists(f"{folder}/wherry") for folder in BARE["PATH"].split(":"))
    name = "wherry" if bare else shlex.quote(program)
    return f"{name} {words}" if os.geteuid() == 0 else f"sudo {name} {words}"


def parts() -> list[str]:
    """What a daemon that runs wherry runs: the commands, the package, the interpreter."""
    return [_scripts(), os.path.dirname(wherry.__file__), sys.executable]


def weak_spots(places: list[str]) -> tuple[list[str], list[str]]:
    """Where others than root may change what is at these places, by way of a folder above, too.

    First what belongs to the person who typed sudo (or runs this), then what anybody may change.
    """
    person = int(os.environ.get("SUDO_UID") or os.geteuid())
    own: list[str] = []
    others: list[str] = []
    seen: set[str] = set()
    for place in places:
        for path in _with_parents(os.path.realpath(place)):
            if path in seen:
                continue
            seen.add(path)
            status = os.stat(path)
            if status.st_uid not in (0, person) or _is_open(status):
                others.append(path)
            elif status.st_uid:
                own.append(path)
    return own, others


def _is_open(status: os.stat_result) -> bool:
    """Whether its group or everybody may write to it."""
    private = status.st_gid in (0, status.st_uid)
    group = status.st_mode & stat.S_IWGRP and not private and _has_members(status.st_gid)
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    return bool((group or status.st_mode & stat.S_IWOTH) and not sticky)


def _has_members(group: int) -> bool:
    """Whether anybody is in a group: nobody is in `staff`, to which Debian gives /usr/local."""
    try:
        named = grp.getgrgid(group).gr_mem
    except KeyError:
        return True
    return bool(named) or any(user.pw_gid == group for user in pwd.getpwall())


def _with_parents(path: str) -> list[str]:
    found = [path]
    while path != "/":
        path = os.path.dirname(path)
        found.append(path)
    return found


def _scripts(default: str | None = "") -> str:
    """The folder of the commands. Raises InstallError, unless the default is None."""
    folders = (
        os.path.dirname(os.path.abspath(sys.argv[0])),
        os.path.dirname(sys.executable),
        sysconfig.get_path("scripts"),
        sysconfig.get_path("scripts", "posix_user"),
    )
    for folder in folders:
        if all(os.path.exists(f"{folder}/{name}") for name in (SHIM, _SLOW_SHIM, RUNTIME)):
            return os.path.realpath(folder)
    if default is None:
        return ""
    raise InstallError(
        f"{SHIM} is not beside {sys.executable}; install wherry with pip, not from its sources"
    )


def _works_bare(folder: str) -> bool:
    try:
        done = subprocess.run(
            [f"{folder}/{_SLOW_SHIM}", "-v"], check=False,
            env=BARE, cwd="/", capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _launcher(module: str) -> bytes:
    # Not the folder of the command itself, which Python puts first.
    path = [entry for entry in sys.path if os.path.isabs(entry) and entry != _scripts(None)]
    code = f"import sys; sys.path[:] = {path!r}; from {module} import main; main()"
    words = " ".join(shlex.quote(word) for word in (sys.executable, "-I", "-c", code))
    return f'#!/bin/sh\nexec {words} "$@"\n'.encode()
