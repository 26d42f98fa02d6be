"""Which archives ADD unpacks and a context may be: tar, plain or compressed."""

import bz2
import lzma
import os
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from pathlib import Path

from wherry.build.errors import BuildError
from wherry.build.spool import Spool
from wherry.images import ImageError
from wherry.images.compression import decompressed

BLOCK = 512
"""Bytes of a tar header."""
_CHUNK = 1 << 18
_CHECKSUM = slice(148, 156)
_MAX_DICTIONARY = 256 << 20


def unpack_archive(source: BufferedIOBase, folder: Path) -> Spool | None:
    """The tar archive in `source`, decompressed into a new spool; None if it holds none.

    Raises BuildError for one whose compression is broken.
    """
    try:
        chunks = _chunks(source)
        head = b""
        while len(head) < BLOCK and (chunk := next(chunks, b"")):
            head += chunk
        if not is_tar(head):
            return None
        spool = Spool(folder)
        spool.write(head)
        for chunk in chunks:
            spool.write(chunk)
        return spool
    except (ImageError, OSError, EOFError, lzma.LZMAError) as error:
        raise BuildError(f"the archive cannot be decompressed: {error}") from None


def is_tar(head: bytes) -> bool:
    """Whether an archive begins with `head`: the first block's checksum is right."""
    block = head[:BLOCK]
    digits = block[_CHECKSUM].strip(b"\0 ")
    if len(block) < BLOCK or not digits or not set(digits) <= set(b"01234567"):
        return False
    return int(digits, 8) == sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")


def _chunks(source: BufferedIOBase) -> Iterator[bytes]:
    """The content of `source` piece by piece, none empty, whichever compression it has."""
    head = source.read(6)
    source.seek(-len(head), os.SEEK_CUR)
    if head.startswith(b"BZh"):
        yield from _inflated(source, bz2.BZ2Decompressor)
    elif head == b"\xfd7zXZ\0":
        yield from _inflated(source, lambda: lzma.LZMADecompressor(memlimit=_MAX_DICTIONARY))
    else:
        stream = decompressed(source)
        while chunk := stream.read(_CHUNK):
            yield chunk


def _inflated(
    source: BufferedIOBase, new: "Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]"
) -> Iterator[bytes]:
    """One stream after the other, as parallel compressors write them."""
    stream = new()
    while True:
        data = b""
        if stream.eof:
            data = (stream.unused_data or source.read(_CHUNK)).lstrip(b"\0")
            if not data:
                return
            stream = new()
        elif stream.needs_input:
            data = source.read(_CHUNK)
            if not data:
                raise EOFError("it ends early")
        if chunk := stream.decompress(data, _CHUNK):
            yield chunk
