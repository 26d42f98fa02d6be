"""Kept connections, proxies, certificates that change."""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.registries import (
    Answer,
    Authority,
    Faults,
    RealRegistry,
    registry,
)
from tests.registry.conftest import IMPATIENT
from tests.registry.images import Sample, everything, repository_at

from wherry.oci import parse_reference
from wherry.registry import (
    Client,
    Credentials,
    Hosts,
    RegistryError,
    Unreachable,
)

ANN = Credentials("ann", "secret")


@pytest.fixture
def trusting(tls_registry: RealRegistry, tmp_path: Path) -> Client:
    assert tls_registry.ca
    (tmp_path / tls_registry.name).mkdir()
    shutil.copy(tls_registry.ca, tmp_path / tls_registry.name / "ca.crt")
    return Client(Hosts([tmp_path]), patience=IMPATIENT)


def test_a_kept_connection_that_was_closed_is_made_anew(
    sample: Sample, client: Client, path: str
) -> None:
    with registry() as real:
        repository = repository_at(client, f"{real.name}/{path}")
        sample.push(repository)
        for _ in range(3):
            real.stop()
            real.start()
            assert repository.manifest("latest")[1] == sample.manifest


def test_requests_go_over_one_connection(sample: Sample, path: str) -> None:
    """A small image is a handful of round trips, and no more connections than threads."""
    with registry() as real:
        counting = Faults(real)
        accepted: list[object] = []
        accept = counting._server.get_request

        def counted() -> object:
            accepted.append(None)
            return accept()

        counting._server.get_request = counted  # type: ignore[assignment,method-assign]
        with counting:
            client = Client(Hosts(), patience=IMPATIENT)
            repository = repository_at(client, f"{counting.name}/{path}")
            sample.push(repository)
            for _ in range(20):
                repository.manifest("latest")
            assert len(accepted) <= 2  # one of them was asked whether it speaks TLS
            assert len(counting.seen) == 25


def test_an_authority_that_is_replaced_is_read_anew(
    tls_registry: RealRegistry, sample: Sample, path: str, tmp_path: Path
) -> None:
    folder = tmp_path / tls_registry.name
    Authority(folder, "somebody else")
    client = Client(Hosts([tmp_path]), patience=IMPATIENT)
    repository = repository_at(client, f"{tls_registry.name}/{path}")
    with pytest.raises(Unreachable, match=f"put the certificate of who signed it at {folder}"):
        sample.push(repository)
    assert tls_registry.ca
    shutil.copy(tls_registry.ca, folder / "ca.crt")
    sample.push(repository)


class Tunnel(BaseHTTPRequestHandler):
    """A proxy that wants a password, tunnels by CONNECT, and forwards GET."""

    seen: list[str]

    def do_CONNECT(self) -> None:
        self.seen.append(f"{self.command} {self.path} {self.headers['Proxy-Authorization']}")
        target = ("127.0.0.1", int(self.path.rpartition(":")[2]))
        with socket.create_connection(target) as upstream:
            self.send_response_only(200)
            self.end_headers()
            ends = {self.connection: upstream, upstream: self.connection}
            while True:
                for ready in select.select(list(ends), [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        self.close_connection = True
                        return
                    ends[ready].sendall(data)

    def do_GET(self) -> None:
        self.seen.append(f"{self.command} {self.path} {self.headers['Proxy-Authorization']}")
        self.send_response_only(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"proxy")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def tunnel(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a proxy saw that the environment names, also for this very machine."""
    seen: list[str] = []
    handler = type("Handler", (Tunnel,), {"seen": seen})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://me:pw@127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr("wherry.registry.proxies.is_loopback", lambda host: False)
    yield seen
    server.shutdown()
    server.server_close()


def test_a_proxy_of_the_environment_is_gone_through(
    tls_registry: RealRegistry, trusting: Client, sample: Sample, path: str, tunnel: list[str]
) -> None:
    repository = repository_at(trusting, f"{tls_registry.name}/{path}")
    sample.push(repository)
    assert repository.manifest("latest")[1] == sample.manifest
    assert set(tunnel) == {f"CONNECT {tls_registry.name} Basic bWU6cHc="}
    with trusting.fetch("http://somewhere.example/x?y=z") as file:
        assert file.read(10) == b"proxy"
    assert tunnel[-1] == "GET http://somewhere.example/x?y=z Basic bWU6cHc="


def test_a_proxy_may_be_reached_by_tls_itself(
    tls_registry: RealRegistry,
    trusting: Client,
    sample: Sample,
    path: str,
    tunnel: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through it, TLS with the registry is within TLS."""
    authority = Authority(tmp_path / "proxy", "who signs proxies")
    pair = authority.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    handler = type("Handler", (Tunnel,), {"seen": tunnel})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{server.server_address[1]}")
        large = Sample(3 << 20)
        repository = repository_at(trusting, f"{tls_registry.name}/{path}")
        large.push(repository)
        assert repository.manifest("latest")[1] == large.manifest
        with repository.blob(large.layer_descriptor) as stream:
            assert everything(stream) == large.layer
        trusting.close()
        server.shutdown()
    assert set(tunnel) == {f"CONNECT {tls_registry.name} None"}


@pytest.mark.parametrize("proxy", ["socks5://me:secret@proxy:1080", "http://", "http://[::1"])
def test_a_proxy_that_is_none_is_told(
    client: Client, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(RegistryError, match="HTTP_PROXY") as raised:
        client.fetch("http://somewhere.example/")
    assert "secret" not in str(raised.value)


def test_a_repository_that_may_not_be_read_is_not_mounted_from(
    sample: Sample, client: Client, path: str
) -> None:
    with registry(token=True) as real:
        assert real.tokens
        sample.push(repository_at(client, f"{real.name}/{path}/secret", ANN))
        real.tokens.hidden.add(f"{path}/secret")
        repository = repository_at(client, f"{real.name}/{path}", ANN)
        assert not repository.mount(sample.layer_descriptor.digest, f"{path}/secret")
        sample.push(repository)


def test_an_address_of_ipv6_is_reached(client: Client) -> None:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6

    handler = type("Handler", (Tunnel,), {"seen": []})
    server = Server(("::1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    try:
        with client.fetch(f"http://[::1]:{server.server_address[1]}/x") as file:
            assert file.read(10) == b"proxy"
    finally:
        server.shutdown()
        server.server_close()


def test_who_talks_to_no_registry_does_not_load_a_client() -> None:
    code = (
        "import sys, wherry.registry\n"
        "from wherry.registry import Cancel, Credentials, Hosts, RegistryError\n"
        "loaded = {'wherry.registry.connection', 'http.client'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_waited_for_when_nobody_is_there(path: str) -> None:
    with Faults() as gone:
        name = gone.name
    client = Client(Hosts())  # with its usual patience
    with pytest.raises(Unreachable, match=f"cannot connect to {name}: connection refused"):
        client.repository(parse_reference(f"{name}/{path}")).manifest("latest")


def test_an_answer_that_is_left_in_the_middle_is_not_waited_for(client: Client) -> None:
    """Of a body that may never end, nothing is read for the sake of the connection."""
    with Faults() as faults:
        more = threading.Event()

        def pieces() -> Iterator[bytes]:
            yield b"some"
            more.wait()

        faults.add("GET", "/file", Answer(200, {}, pieces()))
        with client.fetch(f"{faults.url}/file") as file:
            assert file.read(4) == b"some"
        more.set()


def test_plain_http_on_this_machine_is_found_without_reading_the_authorities(
    open_registry: RealRegistry,
    tls_registry: RealRegistry,
    sample: Sample,
    path: str,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which takes longer than a small pull; a server that does speak TLS is verified as ever."""
    sample.push(repository_at(client, f"{open_registry.name}/{path}"))
    read = []
    context = ssl.create_default_context

    def reading() -> ssl.SSLContext:
        read.append(True)
        return context()

    monkeypatch.setattr("ssl.create_default_context", reading)
    other = Client(Hosts(), patience=IMPATIENT)
    for _ in range(2):
        repository = repository_at(other, f"{open_registry.name}/{path}")
        assert repository.manifest("latest")[1] == sample.manifest
    assert not read
    with pytest.raises(Unreachable, match="signed by nobody known here"):
        repository_at(other, f"{tls_registry.name}/{path}").resolve("latest")
    assert read
    other.close()
