"""ADD of URLs: a file of the web as a tree with one file, fetched when somebody wants its content.

The server is asked each time. If it says by an ETag that the file is the one of an earlier build,
its digest is known without fetching it again.
"""

import hashlib
import posixpath
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from email.message import Message
from email.utils import parsedate_to_datetime
from io import BufferedIOBase
from typing import Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from wherry.build.errors import BuildError
from wherry.build.masking import masked
from wherry.build.repository import is_repository
from wherry.build.spool import Spool
from wherry.images.tar import Entry, Kind

FILE = "file"
"""What the only file in the tree is called."""

_WEB = ("http://", "https://")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CHUNK = 1 << 18
_MODE = 0o600
_NANOSECONDS = 1_000_000_000


class WebFile(Protocol):
    """A file of the web that is being read."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, whatever their case."""

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end."""


OpenURL = Callable[[str], AbstractContextManager[WebFile]]


class Known(msgspec.Struct, frozen=True):
    """What an earlier build has learned of a URL: content with this `etag` has this digest."""

    etag: str
    digest: str
    size: int


def is_remote(source: str) -> bool:
    """Whether a source of ADD is the URL of a file. Raises BuildError for one not to be had."""
    if is_repository(source):
        return False
    if source.startswith("ftp://"):
        raise BuildError(f"ADD {masked(source)}: only http and https are fetched")
    return source.startswith(_WEB)


def read_checksum(text: str, sources: int, remote: int, repositories: int) -> str:
    """The digest or commit of ADD --checksum, empty if there is none. Raises BuildError.

    Of all sources, so many are `remote` files, and so many `repositories`.
    """
    if not text:
        return ""
    if (sources, repositories) == (1, 1):
        if not _COMMIT.fullmatch(text):
            raise BuildError(f"ADD --checksum={text}: of a repository, it is a whole commit id")
        return text
    if not _CHECKSUM.fullmatch(text):
        raise BuildError(f"ADD --checksum={text}: sha256: and 64 hex digits are needed")
    if (sources, remote) != (1, 1):
        raise BuildError("ADD --checksum is for one source, a URL")
    return text


class RemoteFile:
    """A tree whose only file is `FILE`, the content of a URL."""

    def __init__(
        self,
        url: str,
        open_url: OpenURL,
        new_spool: Callable[[], Spool],
        known: Known | None,
        learn: Callable[[Known], None],
    ) -> None:
        """Ask the server. `new_spool` gives room for the content. Raises BuildError."""
        self._url = url
        self._open_url = open_url
        self._new_spool = new_spool
        self._learn = learn
        self._spool: Spool | None = None
        self._digest = b""
        self._size = 0
        self._mtime = 0
        self.name = ""
        """What the server or the URL calls the file; empty if neither does."""
        self._fetch(known)

    def entry(self, path: str) -> Entry | None:
        """The file, or the root."""
        if not path:
            return Entry("", Kind.DIRECTORY, 0o755)
        if path != FILE:
            return None
        return Entry(path, Kind.FILE, _MODE, size=self._size, mtime=self._mtime)

    def names(self, path: str) -> list[str]:
        """The file's name."""
        return [] if path else [FILE]

    def open(self, path: str) -> BufferedIOBase:
        """The content, fetched now if it was not. Raises BuildError."""
        if self._spool is None:
            digest = self._digest
            self._fetch(None)
            if self._digest != digest:
                raise BuildError(f"ADD {masked(self._url)}: the file has just changed; build again")
        assert self._spool is not None
        return self._spool.open()

    def digest(self, path: str) -> bytes:
        """The SHA-256 of the content."""
        return self._digest

    def _fetch(self, known: Known | None) -> None:
        with self._open_url(self._url) as answer:
            headers = answer.headers
            etag = headers.get("ETag", "")
            self.name = _name(self._url, headers)
            self._mtime = _mtime(headers.get("Last-Modified", ""))
            # A weak ETag promises the same meaning, not the same bytes.
            if known is not None and etag == known.etag and not etag.startswith("W/"):
                self._digest, self._size = bytes.fromhex(known.digest), known.size
                return
            spool = self._new_spool()
            hashed = hashlib.sha256()
            while chunk := answer.read(_CHUNK):
                hashed.update(chunk)
                spool.write(chunk)
        self._spool, self._digest, self._size = spool, hashed.digest(), spool.size
        if etag:
            self._learn(Known(etag, hashed.hexdigest(), spool.size))


def _name(url: str, headers: Mapping[str, str]) -> str:
    name = posixpath.basename(unquote(urlsplit(url).path))
    if not name:
        message = Message()
        message["Content-Disposition"] = headers.get("Content-Disposition", "")
        name = posixpath.basename(message.get_filename() or "")
    return "" if name in (".", "..") or "\0" in name else name


def _mtime(text: str) -> int:
    """Nanoseconds; 0 if the server does not say, as BuildKit has it."""
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp())) * _NANOSECONDS
    except (ValueError, OverflowError):
        return 0
