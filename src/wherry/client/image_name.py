"""The name of an image as a person types it, and what Docker makes of it."""

from __future__ import annotations

from wherry.client.errors import ClientError

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"


class InvalidName(ClientError):
    """The text is no name of an image."""


class ImageName:
    """`[DOMAIN/]PATH[:TAG][@DIGEST]`, taken apart as Docker's CLI does it.

    A first part with a dot, a port or a capital letter, or `localhost`, is a registry; without
    one the image is at docker.io, there in `library/` when the path is one word. Whether the
    characters are right is for the engine to say.
    """

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, text: str) -> None:
        name, _, self.digest = text.partition("@")
        head, colon, tag = name.rpartition(":")
        if colon and "/" not in tag:
            name, self.tag = head, tag
        else:
            self.tag = ""
        self.domain, self.path = split_domain(name)
        if not self.path or "://" in text or any(c.isspace() for c in text):
            raise InvalidName(f"'{text}' is no name of an image: write [REGISTRY/]NAME[:TAG]")
        if self.domain == DEFAULT_DOMAIN and "/" not in self.path:
            self.path = f"library/{self.path}"

    @property
    def familiar(self) -> str:
        """The repository in short, as people write it."""
        if self.domain != DEFAULT_DOMAIN:
            return f"{self.domain}/{self.path}"
        return self.path.removeprefix("library/")

    @property
    def repository(self) -> str:
        """The repository in full, `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def suffix(self) -> str:
        """`:TAG`, `@DIGEST`, both, or nothing."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag

    @property
    def bare(self) -> bool:
        """Whether it has neither tag nor digest."""
        return not (self.tag or self.digest)


def split_domain(name: str) -> tuple[str, str]:
    """The registry and what is meant of it."""
    first, slash, rest = name.partition("/")
    if not slash or not _is_domain(first):
        return DEFAULT_DOMAIN, name
    return DEFAULT_DOMAIN if first == "index.docker.io" else first, rest


def _is_domain(first: str) -> bool:
    return "." in first or ":" in first or first == "localhost" or first != first.lower()
