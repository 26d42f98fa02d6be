"""A place to build in: contexts made of dictionaries, and a runner of Wasm without an engine."""

import gzip
import io
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wherry.build import BuildOptions, Context, Event, Outside, Step, StepOutput, build
from wherry.images import Image, ImageStore
from wherry.images.tar import Entry, TarReader

Files = Mapping[str, str | bytes | tarfile.TarInfo]
"""Contexts by name of file."""


def make_tar(files: Files, mtime: int = 1_000_000_000) -> bytes:
    """A tar of `files`: text and bytes are files, a name that ends in "/" is a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
                continue
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.mtime, info.mode, info.size = mtime, 0o644, len(data)
            info.uid = info.gid = 4321
            if name.endswith("/"):
                info.type, info.mode, info.size = tarfile.DIRTYPE, 0o755, 0
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """A symbolic link (or a hard link) for `make_tar`."""
    info = tarfile.TarInfo()
    info.type, info.linkname, info.mode = kind, target, 0o777
    return info


class CopyingRunner:
    """Runs Wasm steps on a merged copy of the root filesystem, with wasmtime in this process."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def wait(self) -> None:
        """Nothing else is built here."""
        raise AssertionError("nobody else is there to wait for")

    def abandon(self) -> None:
        """What runs here ends by itself."""

    def run(self, step: Step) -> int:
        """Merge the layers into a folder, run there, and put what is new into the upper one."""
        import wasmtime

        self.steps.append(step)
        merged = step.workdir / "merged"
        merged.mkdir()
        for lower in reversed(step.lowerdirs):
            shutil.copytree(lower, merged, symlinks=True, dirs_exist_ok=True)
        before = {path: path.lstat().st_mtime_ns for path in merged.rglob("*")}
        program = merged / step.argv[0].lstrip("/")
        output = step.workdir / "output"
        engine = wasmtime.Engine()
        store = wasmtime.Store(engine)
        wasi = wasmtime.WasiConfig()
        wasi.argv = step.argv
        wasi.env = [tuple(entry.split("=", 1)) for entry in step.env]
        wasi.stdout_file = str(output)
        wasi.preopen_dir(str(merged), "/")
        store.set_wasi(wasi)
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        data = program.read_bytes()
        module = wasmtime.Module(engine, wasmtime.wat2wasm(data))
        code = 0
        try:
            start = linker.instantiate(store, module).exports(store)["_start"]
            assert isinstance(start, wasmtime.Func)
            start(store)
        except wasmtime.ExitTrap as exit:
            code = exit.code
        del store
        if output.exists():
            step.output(output.read_bytes())
        for path in sorted(merged.rglob("*")):
            if before.get(path) != path.lstat().st_mtime_ns:
                place = step.upperdir / path.relative_to(merged)
                if path.is_dir():
                    place.mkdir(exist_ok=True)
                else:
                    shutil.copy2(path, place)
        shutil.rmtree(merged)
        return code


@dataclass
class Kitchen:
    """A store to build in."""

    root: Path
    runner: CopyingRunner = field(default_factory=CopyingRunner)
    events: list[Event] = field(default_factory=list)
    outside: Outside | None = None

    def __post_init__(self) -> None:
        self.store = ImageStore(self.root)

    def context(self, data: bytes) -> Context:
        """A context that holds the archive `data`."""
        context = Context(self.root / "build")
        context.write(data)
        return context

    def build(
        self, text: str, files: Files | None = None, /, *, archive: bytes = b"", **options: object
    ) -> Image:
        """Build the Dockerfile `text` in a context of `files`, with options of BuildOptions."""
        self.events.clear()
        data = archive or make_tar({"Dockerfile": text, **(files or {})})
        with self.context(data) as context:
            return build(
                context,
                BuildOptions(**options),  # type: ignore[arg-type]
                self.store,
                self.runner,
                self.events.append,
                self.root / "build",
                self.outside,
            )

    def told(self, kind: type[Event]) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def output(self) -> bytes:
        """What the programs of RUN wrote."""
        return b"".join(event.data for event in self.events if isinstance(event, StepOutput))

    def layer(self, image: Image, number: int = -1) -> dict[str, tuple[Entry, bytes]]:
        """The entries of a layer by name, with the content of files."""
        raw = self.store.blobs.read(image.blobs[2:][number], 1 << 30)
        reader = TarReader(io.BytesIO(gzip.decompress(raw)))
        found = {}
        for entry in reader:
            content = b""
            while part := reader.read(1 << 20):
                content += part
            found[entry.name.rstrip("/")] = (entry, content)
        return found

    def files(self, image: Image) -> dict[str, str]:
        """Every file of the image's layers put on top of each other, with its text."""
        found: dict[str, str] = {}
        for number in range(len(image.manifest.layers)):
            for name, (entry, content) in self.layer(image, number).items():
                if entry.kind.name == "FILE":
                    found[name] = content.decode()
        return found
