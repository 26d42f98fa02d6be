"""`top`: the processes of a container, as ps(1) would show them.

A Wasm process was forked from one that had another name: its command line is what it was asked to
run.
"""

import os
import pwd
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from wherry.engine.errors import InvalidRequest
from wherry.engine.inspection import Top

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_FULL = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_BSD = ("USER", "PID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND")
_SHORT = ("PID", "TTY", "TIME", "CMD")


class _Process(msgspec.Struct, frozen=True):
    pid: int
    uid: int
    parent: int
    state: str
    terminal: int
    seconds: float
    """CPU time."""
    started: float
    """Seconds since the epoch."""
    size: int
    resident: int
    """Bytes, both."""
    name: str
    command: str

    @property
    def share(self) -> float:
        """Percent of one CPU over its life."""
        return 100 * self.seconds / max(1.0, time.time() - self.started)


_COLUMNS: dict[str, Callable[[_Process], str]] = {
    "UID": lambda p: _user(p.uid),
    "USER": lambda p: _user(p.uid),
    "PID": lambda p: str(p.pid),
    "PPID": lambda p: str(p.parent),
    "C": lambda p: str(min(99, int(p.share))),
    "%CPU": lambda p: f"{p.share:.1f}",
    "%MEM": lambda p: f"{100 * p.resident / (_PAGE * os.sysconf('SC_PHYS_PAGES')):.1f}",
    "VSZ": lambda p: str(p.size // 1024),
    "RSS": lambda p: str(p.resident // 1024),
    "STAT": lambda p: p.state,
    "STIME": lambda p: time.strftime("%H:%M", time.localtime(p.started)),
    "START": lambda p: time.strftime("%H:%M", time.localtime(p.started)),
    "TTY": lambda p: f"pts/{p.terminal & 0xFF}" if p.terminal else "?",
    "TIME": lambda p: time.strftime("%H:%M:%S", time.gmtime(p.seconds)),
    "COMM": lambda p: p.name,
    "CMD": lambda p: p.command,
    "ARGS": lambda p: p.command,
    "COMMAND": lambda p: p.command,
}


def list_processes(
    pids: Sequence[int], commands: Mapping[int, Sequence[str]], arguments: str
) -> Top:
    """The processes `pids` in the columns that ps(1) shows for `arguments`.

    `commands` has the command lines of those that are known. Raises InvalidRequest.
    """
    titles = _titles(arguments.split())
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    processes = []
    for pid in pids:
        try:
            processes.append(_read(pid, boot, " ".join(commands.get(pid, ()))))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return Top(
        titles=list(titles),
        processes=[[_COLUMNS[title](process) for title in titles] for process in processes],
    )


def _titles(arguments: list[str]) -> Sequence[str]:
    text = " ".join(arguments)
    if text.startswith("-o") or text.startswith("o "):
        names = [word.partition("=")[0].upper() for word in text[2:].replace(",", " ").split()]
        for name in names:
            if name not in _COLUMNS:
                raise InvalidRequest(f"ps: unknown column {name.lower()!r}")
        if "PID" not in names:
            raise InvalidRequest("Couldn't find PID field in ps output")
        return names
    letters = set(text.replace("-", "").replace(" ", ""))
    if not letters <= set("efauxwl"):
        raise InvalidRequest(f"ps: {text!r} is not understood; known are -ef, aux and -o COLUMNS")
    if "u" in letters:
        return _BSD
    return _FULL if "f" in letters else _SHORT


def _read(pid: int, boot: float, command: str) -> _Process:
    with open(f"/proc/{pid}/stat", "rb") as file:
        head, _, tail = file.read().decode(errors="replace").rpartition(")")
    fields = tail.split()
    if not command:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    name = head.partition("(")[2]
    return _Process(
        pid=pid,
        uid=os.stat(f"/proc/{pid}").st_uid,
        parent=int(fields[1]),
        state=fields[0],
        terminal=int(fields[4]),
        seconds=(int(fields[11]) + int(fields[12])) / _TICK,
        started=boot + int(fields[19]) / _TICK,
        size=int(fields[20]),
        resident=int(fields[21]) * _PAGE,
        name=name,
        command=command or f"[{name}]",
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
