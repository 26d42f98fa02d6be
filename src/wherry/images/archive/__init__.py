"""Images as one file: `docker save`, OCI archives, and skopeo's docker-archive."""

from wherry.images.archive.loading import Loaded, load
from wherry.images.archive.saving import save

__all__ = ["Loaded", "load", "save"]
