"""The real docker-registry, private to a test: open, with TLS, with passwords or with tokens."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread

from tests import peers
from tests.conftest import without
from tests.registries.authority import Authority, Pair
from tests.registries.tokens import ISSUER, SERVICE, TokenServer

_LISTENING = re.compile(r'msg="listening on (\S+?)(, tls)?"')


@dataclass
class RealRegistry:
    """A running docker-registry. Everything of it is below `folder`."""

    folder: Path
    prefix: Sequence[str]
    port: int = 0
    host: str = "127.0.0.1"
    ca: Path | None = None
    """The certificate of who signed the registry's, where it speaks TLS."""
    authority: Authority | None = None
    tokens: TokenServer | None = None
    """Who gives the tokens, where the registry wants such."""

    @property
    def name(self) -> str:
        """What names of its images begin with: `127.0.0.1:PORT`."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if self.ca else 'http'}://{self.name}"

    @property
    def storage(self) -> Path:
        """Where it keeps blobs, as `docker/registry/v2/blobs/sha256/AB/ABCD…/data`."""
        return self.folder / "storage"

    def blob(self, digest: str) -> Path:
        """The file of a blob."""
        algorithm, _, encoded = digest.partition(":")
        blobs = self.storage / "docker/registry/v2/blobs"
        return blobs / algorithm / encoded[:2] / encoded / "data"

    def start(self) -> None:
        """Start it: at any free port the first time, at the same one again afterwards."""
        config = self.folder / "config.yml"
        text = re.sub(r"addr: .*", f'addr: "127.0.0.1:{self.port}"', config.read_text())
        config.write_text(text)
        self._process = subprocess.Popen(
            [*self.prefix, peers.program("docker-registry"), "serve", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"OTEL_TRACES_EXPORTER": "none"},
        )
        come_up: Queue[str] = Queue()
        Thread(target=self._keep_log, args=(self._process, come_up), daemon=True).start()
        if not (address := come_up.get()):
            self._process.wait()
            raise peers.PeerFailed(f"docker-registry did not come up: {self.log()[-2000:]}")
        self.port = int(address.rpartition(":")[2])

    def pause(self) -> None:
        """Have it say nothing any more, with all of its connections open, until `resume`."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """What it has said so far."""
        return (self.folder / "log").read_text(errors="replace")

    def _keep_log(self, process: subprocess.Popen[bytes], come_up: Queue[str]) -> None:
        assert process.stderr is not None
        with process.stderr, (self.folder / "log").open("ab", buffering=0) as log:
            for line in process.stderr:
                log.write(line)
                if found := _LISTENING.search(line.decode(errors="replace")):
                    come_up.put(found[1])
        come_up.put("")

    def stop(self) -> None:
        """End it; `start` brings it back with what it had."""
        self._process.send_signal(signal.SIGKILL)  # it would drain its connections otherwise
        self._process.wait()


@contextlib.contextmanager
def registry(
    tls: bool = False,
    htpasswd: Mapping[str, str] | None = None,
    token: bool | Mapping[str, str] = False,
    *,
    client_ca: Path | None = None,
    proxied: str = "",
    prefix: Sequence[str] = (),
) -> Iterator[RealRegistry]:
    """A docker-registry of its own on a loopback port, in a folder that goes with it.

    `htpasswd` are the passwords of those who may use it. `token` has it ask for tokens of a server
    in this process: for `ann` with `secret`, or for the passwords given. Who shows no certificate
    of `client_ca` cannot talk to it. `proxied` is the address of a registry that it is a mirror
    of. `prefix` goes before its command line (`nsenter …`). The test is skipped without it.
    """
    for needed in ("docker-registry", "htpasswd"):
        try:
            peers.program(needed)
        except peers.PeerMissing as error:
            without(str(error))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="registry-")))
        real = RealRegistry(folder, prefix)
        config = [
            "version: 0.1",
            "log: {level: info, accesslog: {disabled: true}}",
            "storage:",
            "  delete: {enabled: true}",
            f"  filesystem: {{rootdirectory: {real.storage}}}",
            "http:",
            '  addr: ""',
            "  secret: of-the-tests",
        ]
        if tls or client_ca:
            real.authority = Authority(folder / "authority")
            real.ca = real.authority.certificate
            config += _tls(real.authority.server(), client_ca)
        if htpasswd is not None:
            config += ["auth:", "  htpasswd:", "    realm: of the tests"]
            config += [f"    path: {_passwords(folder / 'htpasswd', htpasswd)}"]
        if token:
            users = dict(token) if isinstance(token, Mapping) else {"ann": "secret"}
            pair = Authority(folder / "tokens").server("tokens")
            real.tokens = stack.enter_context(TokenServer(pair, users))
            config += ["auth:", "  token:", f"    realm: {real.tokens.realm}"]
            config += [f"    service: {SERVICE}", f"    issuer: {ISSUER}"]
            config += [f"    rootcertbundle: {pair.certificate}"]
        if proxied:
            config += ["proxy:", f"  remoteurl: {proxied}"]
        (folder / "config.yml").write_text("\n".join(config) + "\n")
        real.start()
        stack.callback(real.stop)
        yield real


def _tls(pair: Pair, client_ca: Path | None) -> list[str]:
    lines = ["  tls:", f"    certificate: {pair.certificate}", f"    key: {pair.key}"]
    return lines + ([f"    clientcas: [{client_ca}]"] if client_ca else [])


def _passwords(file: Path, users: Mapping[str, str]) -> Path:
    program = peers.program("htpasswd")
    lines = [
        subprocess.run(
            [program, "-nbB", "-C", "4", name, password], check=True, capture_output=True
        ).stdout.strip()
        for name, password in users.items()
    ]
    file.write_bytes(b"\n".join(lines) + b"\n")
    return file
