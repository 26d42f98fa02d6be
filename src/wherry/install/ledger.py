"""What wherry has put into a machine, so that this and nothing else can be taken away again.

Written before anything is done: an entry says what may be there, and undoing it begins with a
look whether it is. So a crash between any two steps needs no repair: the same command again
completes the work, and `uninstall` takes back what there is of it.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator

import msgspec

from wherry import __version__
from wherry.install.draft import FileChange
from wherry.install.errors import InstallError
from wherry.install.host import Host

FOLDER = "/var/lib/wherry"
"""Where root's ledger is kept."""

_FILE, _LOCK = "install.json", "install.lock"


class _Entry(msgspec.Struct, kw_only=True):
    path: str
    owners: list[str]
    """The targets (`docker`, `containerd`, …) that need it; it goes with the last of them."""


class Link(_Entry, tag="link"):
    """A symbolic link."""

    target: str


class OwnFile(_Entry, tag="file"):
    """A file of wherry's own."""

    sha256: str


class Folder(_Entry, tag="folder"):
    """A folder that was missing."""


class Backup(_Entry, tag="backup"):
    """A copy of a file as it was before wherry changed it first."""

    sha256: str


class JsonMember(_Entry, tag="json"):
    """A member of a JSON file, see `json_text.Insertion`."""

    keys: list[str]
    value: msgspec.Raw
    replaced: str | None
    existing: int
    blank: str
    made_file: bool
    empty: str | None
    """The text of a file that held nothing, not even an object."""


class TomlText(_Entry, tag="toml"):
    """Text within a TOML file."""

    added: str
    made_file: bool


Entry = Link | OwnFile | Folder | Backup | JsonMember | TomlText


class _Document(msgspec.Struct, kw_only=True):
    version: int
    wherry: str
    entries: list[Entry]


class Ledger:
    """The entries, in the order their changes were made."""

    def __init__(self, host: Host, folder: str = FOLDER) -> None:
        self.folder = folder
        self._host = host
        self.wherry = __version__
        self.entries: list[Entry] = []
        content = host.read(f"{folder}/{_FILE}")
        if content is None:
            return
        try:
            document = msgspec.json.decode(content, type=_Document)
        except (msgspec.DecodeError, RecursionError):
            raise InstallError(f"{folder}/{_FILE}: not as wherry wrote it") from None
        if document.version != 1:
            raise InstallError(f"{folder}/{_FILE}: written by a newer wherry, {document.wherry}")
        self.wherry = document.wherry
        self.entries = document.entries

    def find(self, kind: type[Entry], path: str) -> list[Entry]:
        """The entries of a kind about a path."""
        return [entry for entry in self.entries if type(entry) is kind and entry.path == path]

    def owned_by(self, owner: str) -> list[Entry]:
        """The entries a target needs."""
        return [entry for entry in self.entries if owner in entry.owners]

    @property
    def owners(self) -> list[str]:
        """What wherry is installed in."""
        return sorted({owner for entry in self.entries for owner in entry.owners})

    def change(self) -> FileChange | None:
        """What storing the ledger changes; None when it is stored already."""
        path = self._host.resolve(f"{self.folder}/{_FILE}")
        before = self._host.read(path)
        if not self.entries:
            return None if before is None else FileChange(path, before, None, 0o600)
        document = _Document(version=1, wherry=__version__, entries=self.entries)
        content = msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
        return None if content == before else FileChange(path, before, content, 0o600)

    def store(self) -> None:
        """Put the ledger on the disk. Raises InstallError."""
        change = self.change()
        if change is None:
            return
        try:
            self._host.at(self.folder).mkdir(mode=0o755, parents=True, exist_ok=True)
            change.make(self._host)
        except OSError as error:
            raise InstallError(f"{change.path}: {error.strerror}") from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time changes a machine; the second one waits. Raises InstallError."""
        folder = self._host.at(self.folder)
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(folder / _LOCK, flags, 0o600)
        except OSError as error:
            raise InstallError(f"{self.folder}/{_LOCK}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
