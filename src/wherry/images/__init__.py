"""Images at rest: their content, names, layers and root filesystems.

The store is an OCI image layout that other tools read. Every byte that comes in is checked
against its digest before anything uses it, and every path of a layer is resolved beneath the
folder it is unpacked into. Nothing here runs anything, and nothing knows of containers: who
uses an image is told by the caller.
"""

from wherry.images.blobs import BlobStore, BlobWriter
from wherry.images.choice import Choice, choose, none_suits, told
from wherry.images.errors import (
    AmbiguousImage,
    DigestMismatch,
    ImageError,
    ImageInUse,
    ImageNotFound,
    InvalidImage,
    InvalidLayer,
    NoSuchPlatform,
    StorageFull,
    StoreDamaged,
)
from wherry.images.housekeeping import Removal, Usage
from wherry.images.image import Image
from wherry.images.layer import Layer, LayerWriter
from wherry.images.lookup import Selected
from wherry.images.members import Member
from wherry.images.store import ImageStore

__all__ = [
    "AmbiguousImage",
    "BlobStore",
    "BlobWriter",
    "Choice",
    "DigestMismatch",
    "Image",
    "ImageError",
    "ImageInUse",
    "ImageNotFound",
    "ImageStore",
    "InvalidImage",
    "InvalidLayer",
    "Layer",
    "LayerWriter",
    "Member",
    "NoSuchPlatform",
    "Removal",
    "Selected",
    "StorageFull",
    "StoreDamaged",
    "Usage",
    "choose",
    "none_suits",
    "told",
]
