"""Tar as bytes: reading what anyone wrote, bounded, and writing it reproducibly.

Knows the ustar, pax and GNU formats and nothing of files on disk. Python's tarfile reads whole
extension headers into memory whatever size they claim and keeps every member; layers are
untrusted and large.
"""

from wherry.images.tar.entry import Entry, Kind
from wherry.images.tar.reader import InvalidTar, TarReader
from wherry.images.tar.writer import TarWriter

__all__ = ["Entry", "InvalidTar", "Kind", "TarReader", "TarWriter"]
