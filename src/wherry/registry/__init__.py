"""Talking to image registries (OCI distribution 1.1): transport only, no store.

A `Client` gives a `Repository` for each reference. Calls block; `Cancel` ends them from another
thread. Mirrors, certificates and plain HTTP are configured in `hosts.toml` files (`Hosts`).
"""

from importlib import import_module

TYPE_CHECKING = False  # as type checkers know it

if TYPE_CHECKING:
    from wherry.registry.blob_stream import BlobStream
    from wherry.registry.cancel import Cancel
    from wherry.registry.client import Client
    from wherry.registry.credentials import Credentials
    from wherry.registry.errors import (
        Abandoned,
        Denied,
        InvalidAnswer,
        NotFound,
        RegistryError,
        TooManyRequests,
        Unreachable,
    )
    from wherry.registry.file import WebFile
    from wherry.registry.hosts import Hosts
    from wherry.registry.patience import Patience
    from wherry.registry.repository import Repository
    from wherry.registry.search import SearchResult

__all__ = [
    "Abandoned",
    "BlobStream",
    "Cancel",
    "Client",
    "Credentials",
    "Denied",
    "Hosts",
    "InvalidAnswer",
    "NotFound",
    "Patience",
    "RegistryError",
    "Repository",
    "SearchResult",
    "TooManyRequests",
    "Unreachable",
    "WebFile",
]

_HOMES = {
    "blob_stream": ("BlobStream",),
    "cancel": ("Cancel",),
    "client": ("Client",),
    "credentials": ("Credentials",),
    "file": ("WebFile",),
    "hosts": ("Hosts",),
    "patience": ("Patience",),
    "repository": ("Repository",),
    "search": ("SearchResult",),
}
"""Where each name is; those of none of these are of `errors`."""


def __getattr__(name: str) -> object:
    # An engine that fetches nothing does not load what would: ssl, http.client.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "errors")
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found
