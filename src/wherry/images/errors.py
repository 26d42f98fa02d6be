"""What can go wrong with images. Every message is one line: what was wrong, and what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class ImageError(Exception):
    """An image or the store is not as it must be; the base of this room's errors."""


class ImageNotFound(ImageError):
    """No image has that name or id."""


class AmbiguousImage(ImageError):
    """An id prefix fits several images."""


class NoSuchPlatform(ImageError):
    """The image exists, but not for the platform asked for."""


class ImageInUse(ImageError):
    """The image cannot be removed: a container uses it, or other names need it."""


class InvalidImage(ImageError):
    """A manifest, config, index or archive breaks its format."""


class InvalidLayer(InvalidImage):
    """A layer's bytes are not what they were said to be, or climb out of the root."""


class DigestMismatch(InvalidImage):
    """Content is not what its digest or size says."""


class StoreDamaged(ImageError):
    """The store's own files cannot be read; `ImageStore.check` says which."""


class StorageFull(ImageError):
    """No room is left on the device; nothing was changed."""


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn a full disk or an unwritable store, met while doing `what`, into an ImageError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"no space left on the device to {what}: "
                "free some, for instance with 'wherry image prune'"
            ) from None
        raise ImageError(f"cannot {what}: {error.strerror}: {error.filename or 'store'}") from error
