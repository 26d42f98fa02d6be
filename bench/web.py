"""The rows about networks: requests a second, with the latency of the slowest hundredth beside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Row, Sample
from bench.load import loads
from bench.servers import Servers
from bench.stage import Missing, Stage
from tests.guests.toolchain import GuestMissing

LIMIT = "nginx, hello, one worker"


def sockets(stage: Stage) -> list[Row]:
    """A server on WasmEdge's sockets: on wherry, under the `wasmedge` command, and nginx."""
    rows = []
    for name, module, words in _socket_guests(stage):
        with _servers(stage) as servers:
            ours = servers.container(servers.wherry(), module, words.format(port=8080))
            urls, peers = [ours.direct, servers.nginx()], [LIMIT]
            for how, compiled in (("compiled by it", True), ("interpreted", False)):
                try:
                    urls.append(servers.wasmedge(module, words, compiled=compiled))
                    peers.append(f"wasmedge, no sandbox, {how}")
                except Missing as error:
                    rows.append(Row(name, missing=str(error)))
            mine, *theirs = loads(servers.machine, *urls)
        rows += [_row(name, mine, *pair) for pair in zip(peers, theirs, strict=True)]
    return rows


def published(stage: Stage) -> list[Row]:
    """Published ports against the container's own address: handed over, by DNAT, by the proxy."""
    with _servers(stage) as servers:
        root, user = (servers.wherry(root=root, wasmtime=stage.wasmtime) for root in (True, False))
        module, component = stage.guests.httpd(), stage.guests.http()
        handed, forwarded = (servers.container(root, guest) for guest in (module, component))
        users = [servers.container(user, guest) for guest in (module, component)]
        machine = servers.machine
        inside, outside, rootless = loads(
            machine, handed.direct, handed.published, users[0].loopback
        )
        own, dnat, proxy, users_proxy = loads(
            machine, forwarded.direct, forwarded.published, forwarded.loopback, users[1].loopback
        )
    direct = "the container's own address"
    return [
        _row("published port, listener handed over", outside, direct, inside),
        _row("the same without root", rootless, f"{direct}, as root", inside),
        _row("published port of a component, by DNAT", dnat, direct, own),
        _row("the same on loopback, by the proxy", proxy, direct, own),
        _row("the same without root, by the proxy", users_proxy, f"{direct}, as root", own),
    ]


def http(stage: Stage) -> list[Row]:
    """A component of wasi:http on wherry against `wasmtime serve` run bare."""
    component = stage.guests.http()
    with _servers(stage) as servers:
        ours = servers.container(servers.wherry(wasmtime=stage.wasmtime), component)
        bare = servers.wasmtime(stage.wasmtime, component)
        mine, theirs = loads(servers.machine, ours.direct, bare)
    name = "wasi:http component, a fresh instance for each request"
    return [_row(name, mine, "wasmtime serve, no sandbox", theirs, budget=0.98)]


@contextlib.contextmanager
def _servers(stage: Stage) -> Iterator[Servers]:
    """A machine of the row's own."""
    with contextlib.ExitStack() as stack:
        yield Servers(stack, stage.guests.cache)


def _socket_guests(stage: Stage) -> list[tuple[str, Path, str]]:
    """Name of the row, module, and its argument, in which {port} stands for the port."""
    try:
        return [
            (
                "HTTP by Go's net/http on WasmEdge sockets",
                stage.guests.go("hello"),
                "0.0.0.0:{port}",
            ),
            ("HTTP by C on WasmEdge sockets", stage.guests.httpd(), "{port}"),
        ]
    except GuestMissing as error:
        raise Missing(str(error)) from None


def _row(name: str, mine: Sample, peer: str, theirs: Sample, budget: float | None = None) -> Row:
    return Row(name, mine, peer, theirs, budget=budget, better_more=True)
