"""Moving images between the store and registries: pull and push.

Blocking, with several blobs at once in threads. What has come stays whatever happens, is checked
before anything uses it, and gets a name last of all: a process that is killed leaves a whole
store, and the next try fetches only the rest. Imported with the first transfer.
"""

from wherry.images.transfer.looking import look
from wherry.images.transfer.origins import Origins
from wherry.images.transfer.progress import Announced, BlobState, BlobStatus, Published, Tell
from wherry.images.transfer.pull import Pulled, Puller
from wherry.images.transfer.push import Pusher

__all__ = [
    "Announced",
    "BlobState",
    "BlobStatus",
    "Origins",
    "Published",
    "Pulled",
    "Puller",
    "Pusher",
    "Tell",
    "look",
]
