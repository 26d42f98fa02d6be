"""The context of a build: the tar stream a folder becomes, without what `.dockerignore` names."""

from __future__ import annotations

import os

from wherry.client.errors import ClientError
from wherry.client.tree import in_memory, pack
from wherry.tar_header import END

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.client.ignore import IgnoreRules

_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"(\xb5/\xfd")


class ContextError(ClientError):
    """The folder, or the Dockerfile, cannot be used for a build."""


def memory_context(files: dict[str, bytes]) -> bytes:
    """A context that is on no disk."""
    return b"".join(in_memory(name, content) for name, content in files.items()) + END


def is_archive(start: bytes) -> bool:
    """Whether the first 512 bytes of a stream are those of a tar archive, packed or not."""
    return start[257:262] == b"ustar" or start.startswith(_ARCHIVES)


class FolderContext:
    """A folder to build from. `dockerfile` is the name by which the engine finds it in the stream.

    A Dockerfile outside of the folder, or given as bytes, travels under a name of its own that is
    ignored besides. Raises `ContextError`, `InvalidPattern`.
    """

    def __init__(self, folder: str, dockerfile: str | bytes = "") -> None:
        if not os.path.isdir(folder):
            reason = "not a folder" if os.path.lexists(folder) else "no such folder"
            raise ContextError(f"{folder}: {reason}; the context of a build is a folder")
        self._folder = folder
        self._extra: dict[str, bytes] = {}
        text = _read(f"{folder}/.dockerignore", missing=b"")
        if isinstance(dockerfile, bytes):
            self.dockerfile = self._bring(dockerfile, text)
        else:
            self.dockerfile = self._place(dockerfile, text)
        self._rules = _rules(text.decode(errors="replace"))

    def _place(self, path: str, ignored: bytes) -> str:
        """The Dockerfile's name in the context."""
        chosen = path or os.path.join(self._folder, "Dockerfile")
        if not os.path.isfile(chosen):
            raise ContextError(f"{chosen}: no such file; name the Dockerfile with -f")
        root = os.path.realpath(self._folder)
        inside = os.path.relpath(os.path.realpath(chosen), root)
        if inside == ".." or inside.startswith("../"):
            return self._bring(_read(chosen), ignored)
        return inside

    def _bring(self, content: bytes, ignored: bytes) -> str:
        from hashlib import sha256

        name = f".dockerfile.{sha256(content).hexdigest()[:12]}"
        self._extra[name] = content
        rules = ignored.rstrip(b"\n") + f"\n.dockerignore\n{name}\n".encode()
        self._extra[".dockerignore"] = rules.lstrip(b"\n")
        return name

    def __iter__(self) -> Iterator[bytes]:
        """The tar stream. Raises `FileChanged` and OSError while it is read."""
        for name, content in self._extra.items():
            yield in_memory(name, content)
        yield from pack(self._folder, ".", skips=self._skips, follow=True)
        yield END

    def _skips(self, path: str, folder: bool) -> bool:
        if path in self._extra:
            return True
        if self._rules is None or path in (self.dockerfile, ".dockerignore"):
            return False
        if not self._rules.ignores(path):
            return False
        if not folder:
            return True
        return self._rules.prunes(path) and not self.dockerfile.startswith(f"{path}/")


def _rules(text: str) -> IgnoreRules | None:
    """None for none: most of what a small build imports is regular expressions."""
    if not text.strip():
        return None
    from wherry.client.ignore import IgnoreRules

    return IgnoreRules(text)


def _read(path: str, missing: bytes | None = None) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        if missing is None:
            raise
        return missing
