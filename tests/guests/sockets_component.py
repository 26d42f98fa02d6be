"""Sockets of WASI 0.2 as Python's own library uses them, from a component of componentize-py.

names NAME          prints its addresses
get NAME PORT       prints what each of its addresses answers to a line, by TCP
ask NAME PORT       the same, by UDP
serve FAMILY PORT   answers each line, by TCP, with who asked
echo FAMILY PORT    sends each datagram back, by UDP
"""

import socket
import sys
from collections.abc import Callable

from wit_world import exports
from wit_world.imports import environment

FAMILIES = {"4": (socket.AF_INET, "0.0.0.0"), "6": (socket.AF_INET6, "::")}


# Names are passed as bytes: the codec for others (IDNA) is none of what componentize-py packs.
def names(name: str) -> None:
    found = socket.getaddrinfo(name.encode(), 0, type=socket.SOCK_STREAM)
    print(*sorted({address[0] for *_, address in found}))


def get(name: str, port: str) -> None:
    for family, kind, protocol, _, address in socket.getaddrinfo(
        name.encode(), int(port), type=socket.SOCK_STREAM
    ):
        with socket.socket(family, kind, protocol) as client:
            client.connect(address)
            client.sendall(b"hello\n")
            print(client.recv(1000).decode().strip())


def ask(name: str, port: str) -> None:
    # Whatever kind it is asked for, wasi-libc finds sockets of TCP.
    for family, *_, address in socket.getaddrinfo(name.encode(), int(port)):
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.sendto(b"hello", address)
            print(client.recvfrom(1000)[0].decode())


def serve(family: str, port: str) -> None:
    number, address = FAMILIES[family]
    with socket.socket(number, socket.SOCK_STREAM) as listener:
        listener.bind((address, int(port)))
        listener.listen()
        print("listening", flush=True)
        while True:
            client, peer = listener.accept()
            with client:
                client.sendall(f"{peer[0]} said {client.recv(1000).decode()}".encode())


def echo(family: str, port: str) -> None:
    number, address = FAMILIES[family]
    with socket.socket(number, socket.SOCK_DGRAM) as receiver:
        receiver.bind((address, int(port)))
        print("listening", flush=True)
        while True:
            datagram, peer = receiver.recvfrom(65536)
            receiver.sendto(datagram, peer)


COMMANDS: dict[str, Callable[..., None]] = {
    "names": names,
    "get": get,
    "ask": ask,
    "serve": serve,
    "echo": echo,
}


class Run(exports.Run):  # type: ignore[misc]
    def run(self) -> None:
        _, command, *words = environment.get_arguments()
        try:
            COMMANDS[command](*words)
        except OSError as error:
            print(f"{type(error).__name__}: {error}")
            sys.exit(1)
