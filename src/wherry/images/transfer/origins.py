"""Where blobs were seen: the repositories that a registry can mount them from.

A hint, as containerd's labels `containerd.io/distribution.source`: what it says is tried, and lost
it costs an upload.
"""

import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from wherry.images.blobs import BlobStore
from wherry.images.durable import replace_file
from wherry.oci import Reference

_LIMIT = 64 << 20
_EACH = 8
"""Repositories that are remembered for a blob, the latest."""


class Origins:
    """The record in the file `path` of where the blobs of one store were seen."""

    def __init__(self, path: Path, blobs: BlobStore) -> None:
        self._path = path
        self._blobs = blobs
        self._mutex = threading.Lock()
        self._known = self._read()

    def paths(self, digest: str, domain: str) -> list[str]:
        """The repositories of the registry `domain` that had the blob, the latest first."""
        with self._mutex:
            names = list(self._known.get(digest, ()))
        prefix = f"{domain}/"
        return [name.removeprefix(prefix) for name in names[::-1] if name.startswith(prefix)]

    def add(self, digests: Iterable[str], repository: Reference) -> None:
        """Note that `repository` has blobs."""
        name = repository.name
        with self._mutex:
            changed = False
            for digest in digests:
                names = self._known.get(digest, [])
                if not names or names[-1] != name:
                    others = [other for other in names if other != name]
                    self._known[digest] = [*others, name][-_EACH:]
                    changed = True
            if changed:
                there = set(self._blobs.digests())
                self._known = {d: names for d, names in self._known.items() if d in there}
                with suppress(OSError):
                    replace_file(self._path, msgspec.json.encode(self._known), sync=False)

    def _read(self) -> dict[str, list[str]]:
        try:
            with open(self._path, "rb") as file:
                found = msgspec.json.decode(file.read(_LIMIT), type=dict[str, list[str]])
        except (OSError, msgspec.DecodeError):
            return {}
        return found
