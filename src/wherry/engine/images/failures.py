"""What goes wrong with images, in the engine's words."""

from collections.abc import Iterator
from contextlib import contextmanager

from wherry.engine.errors import Conflict, EngineError, InvalidRequest, NotFound
from wherry.images import (
    AmbiguousImage,
    ImageError,
    ImageInUse,
    ImageNotFound,
    InvalidImage,
    NoSuchPlatform,
)
from wherry.oci import InvalidPlatform, InvalidReference


@contextmanager
def image_errors() -> Iterator[None]:
    """The errors of the rooms below as the engine's."""
    try:
        yield
    except (ImageNotFound, NoSuchPlatform) as error:
        raise NotFound(str(error)) from None
    except ImageInUse as error:
        raise Conflict(str(error)) from None
    except (AmbiguousImage, InvalidImage, InvalidReference, InvalidPlatform) as error:
        raise InvalidRequest(str(error)) from None
    except ImageError as error:
        raise EngineError(str(error)) from None
