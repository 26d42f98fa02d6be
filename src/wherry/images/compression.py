"""Layers and archives compressed and not: gzip, zstd, plain."""

import zlib
from typing import BinaryIO, Protocol, cast

import zstandard

from wherry.images.errors import InvalidLayer
from wherry.images.tar.writer import Output
from wherry.oci import MediaType

_CHUNK = 1 << 18
_WINDOW = 1 << 27
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP_HEADER = bytes.fromhex("1f8b08000000000000ff")
"""No name, no time, no operating system: nothing that differs between two builds."""


class Source(Protocol):
    """What bytes are read from; may return fewer than asked, and b"" only at the end."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes."""


class Compressor(Protocol):
    """Takes bytes, gives compressed ones."""

    def compress(self, data: bytes, /) -> bytes:
        """What of the output is ready."""

    def finish(self) -> bytes:
        """The rest of the output."""


class Gzip:
    """gzip with a fixed header: equal input gives equal output."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._crc = 0
        self._size = 0
        self._head = _GZIP_HEADER

    def compress(self, data: bytes) -> bytes:
        """What of the output is ready."""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        head, self._head = self._head, b""
        return head + self._deflate.compress(data)

    def finish(self) -> bytes:
        """The rest of the output."""
        trailer = self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        return self._head + self._deflate.flush() + trailer


class Zstd:
    """zstd at its default level."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(write_checksum=True).compressobj()

    def compress(self, data: bytes) -> bytes:
        """What of the output is ready."""
        return self._compressor.compress(data)

    def finish(self) -> bytes:
        """The rest of the output."""
        return self._compressor.flush()


class Plain:
    """No compression."""

    def compress(self, data: bytes) -> bytes:
        """The input."""
        return data

    def finish(self) -> bytes:
        """Nothing."""
        return b""


COMPRESSORS: dict[str, tuple[type[Compressor], str]] = {
    "gzip": (Gzip, MediaType.LAYER_GZIP),
    "zstd": (Zstd, MediaType.LAYER_ZSTD),
    "none": (Plain, MediaType.LAYER),
}
"""By name: the compressor, and the media type of a layer compressed with it."""


class Compressed:
    """Compresses what is written to it into `out`."""

    def __init__(self, out: Output, compressor: Compressor) -> None:
        self._out = out
        self._compressor = compressor

    def write(self, data: bytes) -> int:
        """Take all of `data`."""
        if ready := self._compressor.compress(data):
            self._out.write(ready)
        return len(data)

    def finish(self) -> None:
        """Write the rest."""
        self._out.write(self._compressor.finish())


def decompressed(source: Source) -> "Decompressed":
    """The content of `source`, whichever compression its first bytes show."""
    head = b""
    while len(head) < 4 and (more := source.read(4 - len(head))):
        head += more
    rest = _Rejoined(head, source)
    if head.startswith(_GZIP):
        return Decompressed(_Gunzip(rest), "gzip")
    if head == _ZSTD or _is_skippable(head):
        return Decompressed(_Unzstd(rest), "zstd")
    return Decompressed(_Unchanged(rest), "none")


class Decompressed:
    """A stream of decompressed bytes; memory stays bounded whatever the input claims.

    `compression` is one of the names in COMPRESSORS. Raises InvalidLayer where the compressed
    stream is broken or ends early.
    """

    def __init__(self, chunks: "_Chunks", compression: str) -> None:
        self._chunks = chunks
        self.compression = compression
        self._buffer = memoryview(b"")
        self.position = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end."""
        if not self._buffer:
            self._buffer = memoryview(self._chunks.next())
        data = self._buffer[:size]
        self._buffer = self._buffer[size:]
        self.position += len(data)
        return bytes(data)


class _Chunks(Protocol):
    def next(self) -> bytes:
        """The next decompressed bytes, at most a few hundred KiB; b"" at the end."""


class _Rejoined:
    """A stream whose head was already read."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source

    def read(self, size: int) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._source.read(size)


class _Unchanged:
    def __init__(self, source: Source) -> None:
        self._source = source

    def next(self) -> bytes:
        return self._source.read(_CHUNK)


class _Gunzip:
    """gzip of any number of members, as pigz and eStargz write it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._input = b""

    def next(self) -> bytes:
        while True:
            if not self._input:
                self._input = self._source.read(_CHUNK)
            if self._inflate.eof and not self._next_member():
                return b""
            try:
                output = self._inflate.decompress(self._input, _CHUNK)
            except zlib.error as error:
                raise InvalidLayer(f"broken gzip stream: {error}") from None
            ended = not self._input
            self._input = self._inflate.unconsumed_tail
            if self._inflate.eof:
                self._input = self._inflate.unused_data
            if output:
                return output
            if ended and not self._inflate.eof:
                raise InvalidLayer("the gzip stream ends early: it was truncated")

    def _next_member(self) -> bool:
        while self._input:
            self._input = self._input.lstrip(b"\0")
            if self._input:
                self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
                return True
            self._input = self._source.read(_CHUNK)
        return False


class _Unzstd:
    """zstd of any number of frames, skippable ones too (zstd:chunked)."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(
            cast(BinaryIO, self), read_size=_CHUNK, read_across_frames=True
        )

    def read(self, size: int) -> bytes:
        return self._source.read(size)

    def next(self) -> bytes:
        try:
            return self._reader.read(_CHUNK)
        except zstandard.ZstdError as error:
            raise InvalidLayer(f"broken zstd stream: {error}") from None


def _is_skippable(head: bytes) -> bool:
    return len(head) == 4 and head[1:] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50
