"""Addresses on the web: only `http` and `https`, only what a request line can have."""

import re
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec

from wherry.registry.errors import InvalidAnswer, one_line

_HOST = re.compile(r"[0-9a-z._~-]+|[0-9a-f:.]+(?:%[0-9a-z._~-]+)?", re.A)
_PORTS = {"https": 443, "http": 80}
_MAX = 16 << 10
_SAFE = "!#$%&'()*+,/:;=?@[]~"  # what is already escaped stays as it is


class Url(msgspec.Struct, frozen=True):
    """An absolute address, without user and fragment."""

    scheme: str
    host: str
    """Without brackets, in lower case."""
    port: int
    target: str
    """Path and query: begins with a slash."""

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials belong to."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host, in brackets if it is an IPv6 address, and port if it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def joined(self, location: str) -> "Url":
        """The address that `location` in an answer from here means. Raises InvalidAnswer."""
        try:
            return parse_url(urljoin(str(self), location.strip()))
        except ValueError as error:
            raise InvalidAnswer(
                f"{self.authority} sends one to {one_line(location)!r}: {error}"
            ) from None

    def asking(self, *parameters: tuple[str, str]) -> "Url":
        """The same address with more in its query."""
        if not parameters:
            return self
        mark = "&" if "?" in self.target else "?"
        query = urlencode(parameters, quote_via=quote)
        return msgspec.structs.replace(self, target=f"{self.target}{mark}{query}")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(text: str) -> Url:
    """Parse an absolute address. Raises ValueError, in words that follow a colon."""
    if len(text) > _MAX:
        raise ValueError(f"longer than {_MAX} characters")
    if any(not c.isprintable() or c in ' \\"<>' for c in text):
        raise ValueError("it has characters that no address has")
    parts = urlsplit(text)
    if parts.scheme not in _PORTS:
        raise ValueError("not an address of http or https")
    if not parts.hostname:
        raise ValueError("it names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it has a user in it")
    host = parts.hostname
    if not host.isascii():
        host = host.encode("idna").decode()
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is not a host")
    port = parts.port if parts.port is not None else _PORTS[parts.scheme]
    if not 0 < port < 1 << 16:
        raise ValueError(f"there is no port {port}")
    target = quote(parts.path or "/", safe=_SAFE)
    if parts.query:
        target += "?" + quote(parts.query, safe=_SAFE)
    return Url(parts.scheme, host, port, target if target.startswith("/") else f"/{target}")
