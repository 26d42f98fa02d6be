"""`stats`: what containers use right now."""

from __future__ import annotations

import select
import sys
import time

from wherry.cli.command import UNLIMITED, Command
from wherry.cli.flags import switch, text
from wherry.cli.listing import FORMAT_HELP, Listing
from wherry.cli.short import short_id
from wherry.cli.units import binary_size, decimal_size
from wherry.client import ClientError, DaemonError, json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session
    from wherry.client import Response

_REDRAW = 0.5
"""Seconds between two pictures."""
_CLEAR = "\033[H\033[J"
_STANDARD = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")


def _listing(*, full: bool) -> Listing:
    def when_known(show: Callable[[Any], str]) -> Callable[[Any], str]:
        return lambda s: show(s) if "memory_stats" in s else "--"

    return Listing(
        {
            "Container": ("CONTAINER", lambda s: s["asked"]),
            "Name": ("NAME", lambda s: s.get("name", "--").removeprefix("/")),
            "ID": ("CONTAINER ID", lambda s: s["id"] if full else short_id(s["id"])),
            "CPUPerc": ("CPU %", when_known(lambda s: f"{_cpu(s):.2f}%")),
            "MemUsage": ("MEM USAGE / LIMIT", when_known(_memory_text)),
            "MemPerc": ("MEM %", when_known(lambda s: f"{_memory_share(s):.2f}%")),
            "NetIO": ("NET I/O", when_known(_network)),
            "BlockIO": ("BLOCK I/O", when_known(_blocks)),
            "PIDs": ("PIDS", when_known(lambda s: str(s["pids_stats"].get("current", 0)))),
        },
        _STANDARD,
    )


def _cpu(sample: Any) -> float:
    """Percent of one CPU since the sample before."""
    now, before = sample["cpu_stats"], sample.get("precpu_stats") or {}
    used = now["cpu_usage"]["total_usage"] - before.get("cpu_usage", {}).get("total_usage", 0)
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if used <= 0 or passed <= 0:
        return 0.0
    cpus = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or ()) or 1
    return float(used / passed * cpus * 100)


def _memory(sample: Any) -> int:
    """What is used apart from the page cache that could be dropped at once."""
    memory = sample["memory_stats"]
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    usage = int(memory.get("usage", 0))
    return usage - cache if cache < usage else usage


def _memory_text(sample: Any) -> str:
    limit = sample["memory_stats"].get("limit", 0)
    return f"{binary_size(_memory(sample))} / {binary_size(limit)}"


def _memory_share(sample: Any) -> float:
    limit = sample["memory_stats"].get("limit", 0)
    return _memory(sample) / limit * 100 if limit else 0.0


def _network(sample: Any) -> str:
    networks = (sample.get("networks") or {}).values()
    received = sum(network["rx_bytes"] for network in networks)
    sent = sum(network["tx_bytes"] for network in networks)
    return f"{decimal_size(received, 3)} / {decimal_size(sent, 3)}"


def _blocks(sample: Any) -> str:
    entries = (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    read = sum(e["value"] for e in entries if e["op"].lower() == "read")
    written = sum(e["value"] for e in entries if e["op"].lower() == "write")
    return f"{decimal_size(read, 3)} / {decimal_size(written, 3)}"


def _stats(session: Session, arguments: Arguments) -> int:
    listing = _listing(full=arguments.switch("no-trunc"))
    layout = arguments.text("format")
    names = list(arguments.words)
    for name in names:
        session.client.get(f"/containers/{name}/json")
    if arguments.switch("no-stream"):
        names = names or _ids(session, everything=arguments.switch("all"))
        listing.show(session, list(_samples(session, names)), layout)
        return 0
    watch = _Watch(session, names, everything=arguments.switch("all"))
    for samples in watch.pictures():
        if layout in ("", "table") or layout.startswith("table "):
            session.write(_CLEAR)
        listing.show(session, samples, layout)
        sys.stdout.flush()
    return 0


def _ids(session: Session, *, everything: bool) -> list[str]:
    containers = session.client.get("/containers/json", {"all": everything})
    return [str(container["Id"]) for container in containers]


def _empty(name: str) -> dict[str, Any]:
    return {"asked": name, "id": name, "name": "--"}


def _samples(session: Session, names: list[str]) -> Iterator[dict[str, Any]]:
    """One sample of each, all measured in the same second."""
    pending = [
        (name, session.client.start("GET", f"/containers/{name}/stats", {"stream": "0"}))
        for name in names
    ]
    for name, request in pending:
        try:
            yield {**_empty(name), **request.response().json(), "asked": name}
        except DaemonError as error:
            if error.status != 404:
                raise


class _Watch:
    """One connection for each container, all watched at once, drawn at most twice a second."""

    def __init__(self, session: Session, names: list[str], *, everything: bool) -> None:
        self._session = session
        self._everything = everything
        self._fixed = bool(names)
        self._poll = select.poll()
        self._streams: dict[int, tuple[str, Response]] = {}
        self._rests: dict[int, bytes] = {}
        self._gone: list[str] = []
        self._latest: dict[str, dict[str, Any]] = {}
        for name in names or _ids(session, everything=everything):
            self._open(name)

    def _open(self, name: str) -> None:
        self._latest.setdefault(name, _empty(name))
        request = self._session.client.start("GET", f"/containers/{name}/stats", {"stream": "1"})
        try:
            response = request.response()
        except ClientError:
            self._latest.pop(name)
            return
        descriptor = response.connection.socket.fileno()
        self._streams[descriptor] = (name, response)
        self._rests[descriptor] = b""
        self._poll.register(descriptor, select.POLLIN)
        self._take(descriptor, response.early())
        if response.ended:
            self._end(descriptor)

    def _take(self, descriptor: int, data: bytes) -> None:
        *lines, self._rests[descriptor] = (self._rests[descriptor] + data).split(b"\n")
        name = self._streams[descriptor][0]
        for line in filter(bytes.strip, lines):
            self._latest[name] = {**_empty(name), **json.decode(line), "asked": name}

    def _read(self, descriptor: int) -> None:
        response = self._streams[descriptor][1]
        try:
            self._take(descriptor, response.next_portion())
        except ClientError:
            self._end(descriptor)
            response.connection.close()
        else:
            if response.ended:
                self._end(descriptor)

    def _end(self, descriptor: int) -> None:
        """Nothing more comes; the last reading stays for one more picture."""
        self._poll.unregister(descriptor)
        self._gone.append(self._streams.pop(descriptor)[0])

    def pictures(self) -> Iterator[list[dict[str, Any]]]:
        """What is known of all, again and again, until no named container is left."""
        yield list(self._latest.values())
        drawn = time.monotonic()
        while self._streams or not self._fixed:
            self._forget()
            while self._streams or not self._fixed:
                for descriptor, _ in self._poll.poll(_REDRAW * 1000):
                    self._read(descriptor)
                if time.monotonic() - drawn >= _REDRAW:
                    break
            drawn = time.monotonic()
            if not self._fixed:
                self._look_for_new()
            yield list(self._latest.values())

    def _forget(self) -> None:
        """Leaves out what has ended, after it was in a last picture."""
        for name in self._gone:
            if self._fixed or not self._everything:
                self._latest.pop(name, None)
        self._gone.clear()

    def _look_for_new(self) -> None:
        known = {name for name, _ in self._streams.values()} | set(self._latest)
        current = _ids(self._session, everything=self._everything)
        for name in current:
            if name not in known:
                self._open(name)
        for name in set(self._latest).difference(current):
            del self._latest[name]


STATS = Command(
    _stats,
    "Show what containers use, live",
    "[CONTAINER...]",
    (
        switch("all", "a", "Show all containers, not just running ones"),
        text("format", "", FORMAT_HELP),
        switch("no-stream", "", "Show it once, then quit"),
        switch("no-trunc", "", "Do not shorten IDs"),
    ),
    most=UNLIMITED,
    complete=("container",),
)
