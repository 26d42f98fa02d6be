"""Asking what is installed on this machine: programs for their versions, processes for their PATH.

Every question is bounded in time and size, and may stay without an answer.
"""

import json
import os
import re
import socket
import subprocess
from http.client import HTTPConnection, HTTPException
from typing import Any

from wherry.install.host import Host
from wherry.install.package import BARE

SECONDS = 5.0
"""How long a program or a daemon may take to answer."""

_SEARCHED = f"{BARE['PATH']}:/snap/bin:/usr/libexec:/usr/lib/cri-o"
_LARGEST = 1 << 20

_UNITS = {"dockerd": "docker"}

Version = tuple[int, int, int]


def program(host: Host, name: str) -> str | None:
    """Where a program of the machine is."""
    return host.find_program(name, _SEARCHED)


def output(argv: list[str]) -> str | None:
    """What a program prints, None when it fails or takes too long."""
    try:
        done = subprocess.run(
            argv, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS,
            env={**BARE, "LC_ALL": "C", "HOME": "/nonexistent"}, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout[:_LARGEST].decode(errors="replace") if done.returncode == 0 else None


def version(host: Host, name: str) -> Version | None:
    """The version a program says it has; None when it is not there or does not say.

    A program of another machine's folder is run within that folder.
    """
    found = program(host, name)
    if found is None:
        return None
    within = [] if host.is_this_machine else ["chroot", str(host.root)]
    return parse_version(output([*within, found, "--version"]) or "")


def parse_version(text: str) -> Version | None:
    """The first version number of a text."""
    match = re.search(r"\b[vV]?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?", text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def processes(name: str) -> list[int]:
    """The processes whose program has a name."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                with open(f"/proc/{entry}/comm") as file:
                    comm = file.read().rstrip("\n")
            except OSError:
                continue
            if comm == name[:15]:
                found.append(int(entry))
    return sorted(found)


def service(name: str) -> int | None:
    """The process of this machine's service `name`, and not of any other that is started by hand.

    systemd keeps a service in a control group of its name; without systemd nobody can tell.
    """
    for pid in processes(name):
        try:
            with open(f"/proc/{pid}/cgroup") as file:
                groups = file.read(_LARGEST)
        except OSError:
            continue
        if is_of_service(groups, f"{_UNITS.get(name, name)}.service"):
            return pid
    return None


def is_of_service(groups: str, unit: str) -> bool:
    """Whether a process with these control groups (/proc/PID/cgroup) is of a unit of the system's.

    Anybody may have a service of that name of their own: what its command line says is not for root
    to believe.
    """
    paths = [line.split(":", 2)[-1].split("/") for line in groups.splitlines()]
    return any(unit in path and "user.slice" not in path for path in paths)


def daemon_path(name: str) -> str | None:
    """The PATH that a running daemon looks for programs on, None when it cannot be told.

    Of several processes of the name the service is meant.
    """
    pid = service(name)
    if pid is None:
        found = [pid for pid in processes(name) if _shares_files(pid)]
        pid = found[0] if len(found) == 1 else None
    return None if pid is None else path_of(pid)


def _shares_files(pid: int) -> bool:
    """Whether a process sees the same file systems as this one, and is in no container."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    except OSError:
        return False


def path_of(pid: int) -> str | None:
    """The PATH of a process, None when it may not be seen."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read(_LARGEST)
    except OSError:
        return None
    for item in environment.split(b"\0"):
        if item.startswith(b"PATH="):
            return item[5:].decode(errors="replace")
    return ""


def words_of(pid: int) -> list[str]:
    """The command line of a process, empty when it may not be seen."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(_LARGEST).decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def flag_of(pid: int, *names: str) -> str:
    """The value of a flag on the command line of a process, "" when it was not given."""
    words = words_of(pid)
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in names:
            return value if equals else (words[index + 1 : index + 2] or [""])[0]
    return ""


def docker_info(path: str) -> dict[str, Any]:
    """What the daemon at a unix socket says about itself.

    Raises OSError when it cannot be reached or does not answer in time.
    """
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/info")
        body = connection.getresponse().read(_LARGEST)
        info = json.loads(body)
    except (HTTPException, ValueError, RecursionError) as error:
        raise OSError(f"no Docker daemon answers there ({error})") from None
    finally:
        connection.close()
    return info if isinstance(info, dict) else {}


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)
