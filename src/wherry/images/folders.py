"""What the folders of unpacked layers are called.

A folder has the beginning of its layer's key for a name, since all paths of an overlay have to fit
into one page (`MAX_LAYERS`); the whole key lies beside the files and is compared. It is the layer's
diff_id, so that a layer is unpacked once for all images that have it. Only what a layer with hard
links to files of lower layers becomes depends on those: its key is of them all.
"""

import hashlib
from collections.abc import Iterable

import msgspec

from wherry.images.layer import Layer
from wherry.oci import file_name, is_tar

NAME_LENGTH = 20

_STACKED = "stacked:"


class Wanted(msgspec.Struct, frozen=True):
    """A layer that is to be there unpacked: its keys, and the names that its folder has by them.

    `key` is its own; `stacked` the one it has if it needs those below it.
    """

    layer: Layer
    key: str
    stacked: str
    name: str
    stacked_name: str

    @classmethod
    def of(cls, layer: Layer, key: str, stacked: str) -> "Wanted":
        """With the names that follow from the keys."""
        return cls(layer, key, stacked, _name(key), _name(stacked))


def stacked(layers: Iterable[Layer]) -> list[Wanted]:
    """The layers of one image, lowest first."""
    found: list[Wanted] = []
    above = ""
    for layer in layers:
        key = _key(layer)
        above = f"{_STACKED}{_hashed(f'{above} {key}')}"
        found.append(Wanted.of(layer, key, above))
    return found


def alone(layers: Iterable[Layer]) -> list[Wanted]:
    """Layers of which it is not known what lies below them."""
    return [Wanted.of(layer, key := _key(layer), key) for layer in layers]


def is_stacked(key: str) -> bool:
    """Whether this is the key of a layer that needed those below it."""
    return key.startswith(_STACKED)


def is_nothing(layer: Layer) -> bool:
    """Whether a layer is of an artifact and no file of a guest's: a signature, say."""
    blob = layer.descriptor
    return file_name(blob) is None and blob.digest == layer.diff_id and not is_tar(blob)


def begins(key: str, name: str) -> bool:
    """Whether a folder of that name may be the one of that key; older stores had longer names."""
    return len(name) >= NAME_LENGTH and key.partition(":")[2].startswith(name)


def _key(layer: Layer) -> str:
    """A tar is known by its content, a file by its content and name.

    What has no files for a guest is known as that: else an image that calls a tar by another media
    type would leave an empty folder for all that have this tar.
    """
    digest, name = layer.descriptor.digest, file_name(layer.descriptor)
    if name is not None:
        return f"module:{_hashed(f'{digest} {name}')}"
    return f"nothing:{_hashed(digest)}" if is_nothing(layer) else layer.diff_id


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _name(key: str) -> str:
    return key.partition(":")[2][:NAME_LENGTH]
