"""Images: the image store seen from the loop, and what moves between it and registries."""

from wherry.engine.images.collection import Images
from wherry.engine.images.failures import image_errors

__all__ = ["Images", "image_errors"]
