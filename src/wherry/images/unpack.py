"""Layers to folders: a layer's tar becomes a folder that overlayfs can stack (layer.md).

Whiteouts become overlay's: a character device 0:0 where a name is deleted, an `opaque` attribute
on a folder that hides what is below it. A hard link to a file of a lower layer brings that file up
into this one, as overlayfs does when somebody makes such a link. Device nodes are made where that
is allowed, which for an ordinary user it is nowhere; what a container may do with them is its
devices cgroup's and its mount's to say.
"""

import errno
import hashlib
import os
import stat

import msgspec

from wherry.images.beneath import clean
from wherry.images.compression import Decompressed, Source, decompressed
from wherry.images.errors import DigestMismatch, InvalidLayer
from wherry.images.layer import OPAQUE, WHITEOUT
from wherry.images.stack import Shown, Stack, is_whiteout
from wherry.images.tar import Entry, InvalidTar, Kind, TarReader
from wherry.images.tree import TreeWriter
from wherry.images.walk import Extents, entry_at, extents_of, open_file
from wherry.oci import Descriptor, Digest

_AUFS = ".wh..wh."
_OURS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
"""Errors that are the machine's fault, not the layer's."""


class Limits(msgspec.Struct, frozen=True):
    """What one layer may become: bytes of content, entries, and bytes for each byte stored.

    The ratio counts only above `free_bytes`; gzip itself cannot exceed 1032. `looks` is how often
    lower layers may be asked for a file that it links to.
    """

    size: int = 64 << 30
    entries: int = 2_000_000
    ratio: int = 200
    free_bytes: int = 1 << 30
    looks: int = 10_000_000


LIMITS = Limits()


class NeedsLowerLayers(InvalidLayer):
    """A layer has a hard link to what is not in it."""


def unpack(
    source: Source,
    descriptor: Descriptor,
    diff_id: Digest,
    tree: TreeWriter,
    below: Stack | None = None,
    limits: Limits = LIMITS,
) -> None:
    """Unpack a layer into the empty folder that `tree` writes.

    `below` are the lower layers. Raises NeedsLowerLayers when they are not given but needed,
    InvalidLayer, and DigestMismatch when the blob or its content is not what the
    descriptor and `diff_id` say; the folder is then to be thrown away.
    """
    blob = Digesting(source, descriptor.digest)
    content = _Content(decompressed(blob), blob, diff_id, limits)
    try:
        _Unpacking(tree, below, limits).run(TarReader(content))
        content.drain()
    except NeedsLowerLayers:
        raise
    except (InvalidTar, InvalidLayer, ValueError) as error:
        raise InvalidLayer(f"layer {descriptor.digest}: {error}") from None
    blob.check(descriptor.size)
    content.check(descriptor)


class _Unpacking:
    """The state of one layer's way to disk."""

    def __init__(self, tree: TreeWriter, below: Stack | None, limits: Limits) -> None:
        self._tree = tree
        self._below = below
        self._limits = limits
        self._whiteouts: set[str] = set()
        self._brought_up: set[str] = set()
        """Paths of lower layers' files, and of the folders they are in, that no entry speaks of."""
        self._opaque = overlay_opaque(tree)

    def run(self, reader: TarReader) -> None:
        tree, limits = self._tree, self._limits
        for count, entry in enumerate(reader):
            if count >= limits.entries:
                raise InvalidLayer(f"more than {limits.entries} entries")
            if tree.bytes + entry.size > limits.size:
                raise InvalidLayer(f"more than {limits.size} bytes of files")
            try:
                self._add(clean(entry.name), entry, reader)
            except OSError as error:
                if error.errno in _OURS:
                    raise
                raise InvalidLayer(f"entry {entry.name!r}: {error.strerror}") from None

    def _add(self, path: str, entry: Entry, reader: TarReader) -> None:
        folder, _, name = path.rpartition("/")
        if f"/{WHITEOUT}" in f"/{folder}":
            raise InvalidLayer(f"entry {entry.name!r}: folders named {WHITEOUT}… are reserved")
        if name.startswith(WHITEOUT):
            self._delete(folder, name)
            return
        if not path and entry.kind is not Kind.DIRECTORY:
            raise InvalidLayer(f"entry {entry.name!r} is the root, but no folder")
        if self._whiteouts:
            self._uncover(path, entry.kind)
        if entry.kind is Kind.HARDLINK:
            target = self._linked(entry)
            if target is None:
                self._tree.left_out.add(path)
                return
            self._tree.hardlink(path, target)
        else:
            self._tree.add(path, entry, reader.read)
        if self._brought_up:
            parts = path.split("/")
            self._brought_up -= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}

    def _linked(self, entry: Entry) -> str | None:
        """Where what a hard link leads to is in the tree; brought up if it is a lower layer's.

        None if it is a device node that could not be made.
        """
        target = clean(entry.target)
        there = self._tree.exists(target) if target else None
        if there is not None and not is_whiteout(there):
            return target
        if target in self._tree.left_out:
            return None
        if self._below is None:
            raise NeedsLowerLayers(f"entry {entry.name!r} is a hard link to {entry.target!r}")
        found = self._below.find(target, self._tree.root) if target else None
        self._spend(0)
        if found is None and target in self._below.left_out:
            return None
        if found is None or stat.S_ISDIR(found.status.st_mode):
            raise InvalidLayer(
                f"entry {entry.name!r} is a hard link to {entry.target!r}, "
                "which is no file of the layer or of those below it"
            )
        if found.layer is not self._tree.root:
            self._bring_up(found, self._below)
        return found.path

    def _bring_up(self, found: Shown, below: Stack) -> None:
        """Copy a lower layer's file to where it is, and the folders that it is in."""
        folder = found.path.rpartition("/")[0]
        if folder and not self._tree.exists(folder):
            for shown in below.folders(found.path):
                self._spend(1)
                if not self._tree.exists(shown.path):
                    self._copy(shown)
        self._copy(found)

    def _copy(self, shown: Shown) -> None:
        entry = entry_at(shown.layer, shown.path)
        if entry is None or self._tree.bytes + entry.size > self._limits.size:
            raise InvalidLayer(f"more than {self._limits.size} bytes of files")
        if entry.kind is Kind.FILE:
            with open_file(shown.layer, shown.path) as file:
                extents = extents_of(file, entry.size)
                if extents != [(0, entry.size)]:
                    entry.extents = extents
                self._tree.add(shown.path, entry, Extents(file, extents).read)
        else:
            self._tree.add(shown.path, entry, lambda _: b"")
        self._brought_up.add(shown.path)

    def _put_back(self, path: str) -> None:
        """Take away what was brought up to `path` or below it: the layer deletes that."""
        if not self._brought_up:
            return
        self._spend(len(self._brought_up))
        top = f"{path}/" if path else ""
        gone = {each for each in self._brought_up if f"{each}/".startswith(top)}
        for each in gone:
            self._tree.remove(each)
        self._brought_up -= gone

    def _spend(self, looks: int) -> None:
        """Bound the time that links to lower layers take."""
        if self._below is not None:
            self._below.looks += looks
            if self._below.looks > self._limits.looks:
                raise InvalidLayer("hard links to lower layers that take too long to find")

    def _delete(self, folder: str, name: str) -> None:
        if name == OPAQUE:
            self._put_back(folder)
            self._tree.place(f"{folder}/x" if folder else "x")
            self._tree.setxattr(folder, self._opaque, b"y")
            return
        if name.startswith(_AUFS):
            return
        hidden = name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            raise InvalidLayer(f"{name!r} deletes nothing that can be: it is no whiteout")
        path = f"{folder}/{hidden}" if folder else hidden
        self._put_back(path)
        there = self._tree.exists(path)
        if there is None:
            at, hidden = self._tree.place(path)
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=at)
            self._whiteouts.add(path)
        elif stat.S_ISDIR(there.st_mode):
            self._tree.setxattr(path, self._opaque, b"y")

    def _uncover(self, path: str, kind: Kind) -> None:
        """What the layer deletes and has as well hides the lower one: a folder is opaque."""
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            above = "/".join(parts[:depth])
            if above in self._whiteouts:
                self._whiteouts.discard(above)
                self._tree.remove(above)
                if depth < len(parts) or kind is Kind.DIRECTORY:
                    self._tree.place(f"{above}/x")
                    self._tree.setxattr(above, self._opaque, b"y")


def overlay_opaque(tree: TreeWriter) -> str:
    """The attribute by which overlayfs here knows an opaque folder.

    A mount in a user namespace cannot read `trusted.` attributes, and one of root ignores
    `user.` ones; who can set the former mounts with it.
    """
    probe = "trusted.overlay.probe"
    try:
        tree.setxattr("", probe, b"y")
    except PermissionError:
        return "user.overlay.opaque"
    tree.removexattr("", probe)
    return "trusted.overlay.opaque"


class Digesting:
    """A blob that is hashed while it is read."""

    def __init__(self, source: Source, digest: str) -> None:
        self._source = source
        self._expected = digest
        self._hash = hashlib.new(digest.partition(":")[0])
        self.size = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        data = self._source.read(size)
        self._hash.update(data)
        self.size += len(data)
        return data

    def check(self, size: int) -> None:
        """Read to the end, and compare. Raises DigestMismatch."""
        while self.read(1 << 20):
            pass
        found = f"{self._expected.partition(':')[0]}:{self._hash.hexdigest()}"
        if found != self._expected:
            raise DigestMismatch(f"layer {self._expected} is damaged: its digest is {found}")
        if self.size != size:
            raise DigestMismatch(
                f"layer {self._expected}: {self.size} bytes, {size} were announced"
            )


class _Content:
    """A layer's uncompressed tar: hashed, and bounded in proportion to what is stored."""

    def __init__(
        self, source: Decompressed, blob: Digesting, diff_id: Digest, limits: Limits
    ) -> None:
        self._source = source
        self._blob = blob
        self._limits = limits
        self._expected = diff_id
        self._hash = hashlib.new(diff_id.partition(":")[0])

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        position = self._source.position
        if position > self._limits.free_bytes and (
            position > self._blob.size * self._limits.ratio or position > 2 * self._limits.size
        ):
            raise InvalidLayer("a decompression bomb: far more content than bytes stored")
        return data

    def drain(self) -> None:
        """Read what follows the tar's end: it belongs to the digest."""
        while self.read(1 << 18):
            pass

    def check(self, layer: Descriptor) -> None:
        """Compare the digest. Raises DigestMismatch."""
        found = f"{self._expected.partition(':')[0]}:{self._hash.hexdigest()}"
        if found != self._expected:
            raise DigestMismatch(
                f"layer {layer.digest}: the digest of its content is {found}, "
                f"the config says {self._expected}"
            )
