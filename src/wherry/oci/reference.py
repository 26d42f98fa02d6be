"""Image references: `[domain/]path[:tag][@digest]`, with Docker's defaults."""

import re

import msgspec

from wherry.oci.digest import Digest, InvalidDigest, parse_digest

_DEFAULT_DOMAIN = "docker.io"
_DEFAULT_TAG = "latest"
_OFFICIAL = "library/"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)
_MAX_NAME = 255


class InvalidReference(ValueError):
    """The text names no image. The message is one line and says what is wrong."""


class Reference(msgspec.Struct, frozen=True):
    """A normalised reference; at least one of `tag` and `digest` may be empty."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Domain and path: `docker.io/library/hello`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as Docker prints it: `hello`."""
        if self.domain != _DEFAULT_DOMAIN:
            return self.name
        if self.path.startswith(_OFFICIAL) and "/" not in self.path.removeprefix(_OFFICIAL):
            return self.path.removeprefix(_OFFICIAL)
        return self.path

    @property
    def familiar(self) -> str:
        """The whole reference as Docker prints it: `hello:latest`."""
        return self.familiar_name + self._suffix

    def with_default_tag(self) -> "Reference":
        """The same reference, tagged `latest` if it has neither tag nor digest."""
        if self.tag or self.digest:
            return self
        return msgspec.structs.replace(self, tag=_DEFAULT_TAG)

    @property
    def selector(self) -> str:
        """What of the repository is meant, as registries ask for it: the digest, else the tag."""
        return self.digest or self.tag or _DEFAULT_TAG

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return tag + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix


def parse_reference(text: str) -> Reference:
    """Parse and normalise what a person typed; adds no tag. Raises InvalidReference."""
    rest, at, digest_text = text.partition("@")
    digest = None
    if at:
        try:
            digest = parse_digest(digest_text)
        except InvalidDigest as error:
            raise InvalidReference(f"invalid reference {text!r}: {error}") from None
    tag = None
    colon = rest.rfind(":")
    if colon > rest.rfind("/"):
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise InvalidReference(f"invalid reference {text!r}: {tag!r} is not a tag")
    domain, path = _split_domain(rest)
    if not _PATH.fullmatch(path):
        hint = " (names are lower case)" if path != path.lower() else ""
        raise InvalidReference(f"invalid reference {text!r}: {path!r} is not a name{hint}")
    if not _DOMAIN.fullmatch(domain):
        raise InvalidReference(f"invalid reference {text!r}: {domain!r} is not a registry")
    if len(domain) + 1 + len(path) > _MAX_NAME:
        raise InvalidReference(f"the name is longer than {_MAX_NAME} characters: {text[:40]!r}…")
    return Reference(domain, path, tag, digest)


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    looks_like_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if not slash or not looks_like_host:
        return _DEFAULT_DOMAIN, name if slash else _OFFICIAL + name
    if first == "index.docker.io":
        first = _DEFAULT_DOMAIN
    if first == _DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL + rest
    return first, rest
