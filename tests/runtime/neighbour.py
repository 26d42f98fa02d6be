"""A network namespace with a neighbour in it: name server, and servers of TCP and UDP.

As a program, within the namespace, it is the neighbour. It serves loopback: names at 127.0.0.1:53;
at port 8000 of 127.0.0.1 and ::1 what a line of TCP says, with the peer's address, and datagrams
as they came. Every name beneath `test` but `nowhere.test` is there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator

PORT = 8000
_HEADER = 12
_A, _AAAA = 1, 28


@contextlib.contextmanager
def neighbour() -> Iterator[str]:
    """The path of the namespace, with the neighbour listening."""
    argv = ["unshare", "-n", sys.executable, __file__]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield f"/proc/{process.pid}/ns/net"
        finally:
            process.kill()


class _Names(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        query, channel = self.request
        end = query.index(b"\0", _HEADER) + 1
        name = query[_HEADER:end]
        kind = int.from_bytes(query[end : end + 2])
        known = name.lower().endswith(b"\4test\0") and b"\7nowhere" not in name
        address = {
            _A: socket.inet_pton(socket.AF_INET, "127.0.0.1"),
            _AAAA: socket.inet_pton(socket.AF_INET6, "::1"),
        }.get(kind, b"")
        answers = int(known and bool(address))
        flags = 0x8180 if known else 0x8183
        header = query[:2] + b"".join(n.to_bytes(2) for n in (flags, 1, answers, 0, 0))
        record = b"\xc0\x0c" + kind.to_bytes(2) + b"\0\1" + (60).to_bytes(4)
        record += len(address).to_bytes(2) + address
        channel.sendto(header + query[_HEADER : end + 4] + record * answers, self.client_address)


class _Lines(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline()
        self.wfile.write(self.client_address[0].encode() + b" said " + line)


class _Datagrams(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        datagram, channel = self.request
        channel.sendto(datagram, self.client_address)


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


class _Tcp6(_Tcp):
    address_family = socket.AF_INET6


class _Udp6(socketserver.UDPServer):
    address_family = socket.AF_INET6


def _serve() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    servers: list[socketserver.BaseServer] = [
        socketserver.UDPServer(("127.0.0.1", 53), _Names),
        _Tcp(("127.0.0.1", PORT), _Lines),
        _Tcp6(("::1", PORT), _Lines),
        socketserver.UDPServer(("127.0.0.1", PORT), _Datagrams),
        _Udp6(("::1", PORT), _Datagrams),
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _serve()
