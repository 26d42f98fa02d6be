"""Looking into an image, in a process of its own: what its modules are, what it is made of.

Reading hostile files in depth takes memory and seconds, and a bill of materials a library that an
idle wherryd is to do without. So wherryd starts this, hands it the unpacked layers, and passes on
the document that comes back.
"""

import posixpath
import resource
import sys
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

import msgspec

from wherry import wasm
from wherry.build import BuildError
from wherry.build.files import join, resolve
from wherry.build.rootfs import Rootfs, UnpackedLayer
from wherry.images.tar import Kind

MAX_MODULES = 1000
MAX_FILES = 1_000_000
MAX_MODULE = 1 << 30
"""Bytes of one file that is read as a module."""

_CPU = 300
_MEMORY = 8 << 30
_HEAD = 4096
_ENDINGS = (".wasm", ".wat", ".cwasm")


class LayerPlace(msgspec.Struct, frozen=True):
    """A layer: its blob, and the folder that it is unpacked in."""

    digest: str
    media_type: str
    size: int
    diff_id: str
    folder: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, and of which image. `layers` come lowest first.

    `form` is empty for the look inside, else the form of a bill of materials. `programs` are the
    paths where a container's program is looked for, in that order.
    """

    form: str
    id: str
    digest: str
    name: str
    tag: str
    created: str
    author: str
    platform: str
    layers: list[LayerPlace]
    programs: list[str]
    has_command: bool


class LookFailed(Exception):
    """Nothing can be told of the image; the message is one line."""


class Inside:
    """The files of an image, as its containers see them."""

    def __init__(self, layers: list[LayerPlace]) -> None:
        self._tree = Rootfs([_unpacked(layer) for layer in reversed(layers)])
        self._digests = {layer.diff_id: layer.digest for layer in layers}

    def walk(self) -> Iterator[str]:
        """The paths of all regular files, sorted in each folder, without leading slashes."""
        pending = [""]
        seen = 0
        while pending:
            folder = pending.pop()
            below = []
            for name in self._tree.names(folder):
                path = join(folder, name)
                entry = self._tree.entry(path)
                seen += 1
                if entry is None or seen > MAX_FILES:
                    continue
                if entry.kind is Kind.DIRECTORY:
                    below.append(path)
                elif entry.kind in (Kind.FILE, Kind.HARDLINK):
                    yield path
            pending += reversed(below)

    def find(self, path: str) -> str | None:
        """The regular file at `path`, links followed; None if there is none."""
        try:
            place = resolve(self._tree, path)
        except BuildError:
            return None
        entry = self._tree.entry(place)
        return place if entry is not None and entry.kind is Kind.FILE else None

    def open(self, path: str) -> BufferedIOBase:
        """The content of a file that `find` has found."""
        return self._tree.open(path)

    def read(self, path: str, limit: int) -> bytes | None:
        """The content of a file, links followed; None if there is none, or it is larger."""
        place = self.find(path)
        if place is None:
            return None
        with self._tree.open(place) as file:
            content = file.read(limit + 1)
        return content if len(content) <= limit else None

    def is_wasm(self, path: str) -> bool:
        """Whether the file begins like a module, or is a text that is called one."""
        with self._tree.open(path) as file:
            kind = wasm.sniff(file.read(_HEAD))
        return kind in ("module", "component") or (kind == "text" and path.endswith(_ENDINGS))

    def dissect(self, path: str, machine: wasm.Machine) -> wasm.Anatomy:
        """All about the module at `path`. Raises LookFailed."""
        entry = self._tree.entry(path)
        if entry is not None and entry.size > MAX_MODULE:
            raise LookFailed(f"{_shown(path)} is larger than {MAX_MODULE >> 30} GiB")
        try:
            with self._tree.open(path) as file:
                return wasm.dissect(file, machine)  # type: ignore[arg-type]
        except (wasm.InvalidWasm, OSError) as error:
            raise LookFailed(f"{_shown(path)}: {error}") from None

    def layer_of(self, path: str) -> str:
        """The digest of the layer that has the file."""
        return next((self._digests.get(each, "") for each in self._tree.identity(path)), "")


def look(question: Question) -> bytes:
    """Answer a question. Raises LookFailed."""
    inside = Inside(question.layers)
    machine = wasm.Machine(has_command=question.has_command)
    program = next(filter(None, map(inside.find, question.programs)), None)
    modules: list[str] = []
    for path in inside.walk():
        if len(modules) < MAX_MODULES and inside.is_wasm(path):
            modules.append(path)
    if question.form:
        return _bill(question, inside, machine, modules, program)
    if program not in modules:
        program = modules[0] if modules else None
    if program is None:
        raise LookFailed("there is no WebAssembly in the image")
    anatomy = msgspec.structs.replace(
        inside.dissect(program, machine),
        path=_shown(program),
        image=question.id,
        others=[_shown(path) for path in modules if path != program],
    )
    return msgspec.json.encode(anatomy)


def _bill(
    question: Question,
    inside: Inside,
    machine: wasm.Machine,
    paths: list[str],
    program: str | None,
) -> bytes:
    from wherry import sbom

    modules = []
    for path in paths:
        try:
            anatomy = inside.dissect(path, machine)
        except LookFailed:
            continue  # what is no module, or a broken one, is made of nothing that could be told
        modules.append(
            sbom.Module(_shown(path), anatomy, inside.layer_of(path), is_program=path == program)
        )
    subject = sbom.Subject(
        name=question.name,
        version=question.tag,
        digest=question.digest,
        is_image=True,
        created=question.created,
        platform=question.platform,
        author=question.author,
    )
    layers = [sbom.Layer(each.digest, each.media_type, each.size) for each in question.layers]
    return sbom.write(subject, modules, sbom.survey(inside), layers, question.form)


def programs(words: list[str], working_dir: str, env: list[str]) -> list[str]:
    """Where the program of an image is looked for, without leading slashes."""
    if not words:
        return []
    name = words[0]
    if name.startswith("/"):
        return [name.lstrip("/")]
    folders = [working_dir or "/", "/"]
    if "/" not in name:
        path = next((each for each in env if each.startswith("PATH=")), "PATH=/usr/local/bin:/bin")
        folders += path.removeprefix("PATH=").split(":")
    return [posixpath.join("/", folder, name).lstrip("/") for folder in folders if folder]


def main(_: list[str]) -> None:
    """The process: a question on stdin, the document on stdout; status 1 and a line on stderr."""
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU, _CPU))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    try:
        answer = look(question)
    except LookFailed as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(answer)


def _shown(path: str) -> str:
    """A path as text: a name need not be UTF-8."""
    return "/" + path.encode(errors="surrogateescape").decode(errors="replace")


def _unpacked(layer: LayerPlace) -> UnpackedLayer:
    return UnpackedLayer(layer.diff_id, lambda: Path(layer.folder))
