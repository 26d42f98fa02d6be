"""A file from anywhere on the web."""

import base64
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from wherry.registry.answer import Answer
from wherry.registry.cancel import Cancel
from wherry.registry.errors import RegistryError, Unreachable, one_line
from wherry.registry.refusal import refusal
from wherry.registry.url import Url, parse_url
from wherry.registry.web import Web


class WebFile:
    """The body of an answer 200. Whoever reads bounds the size."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._left = answer.length
        self.url = str(answer.url)
        """Where it came from at last, after redirects."""
        self.headers: Mapping[str, str] = answer.headers
        """By name in any case."""

    @property
    def size(self) -> int | None:
        """The bytes announced, if any were."""
        return self._answer.length

    def read(self, size: int) -> bytes:
        """Up to `size` more bytes; none at the end.

        Raises Unreachable when it ends before it is whole, Abandoned.
        """
        data = self._answer.read(size if self._left is None else min(size, self._left))
        if self._left is not None:
            if not data and size and self._left:
                raise Unreachable(f"{self.url} ended {self._left} bytes early", again=True)
            self._left -= len(data)
        return data

    def close(self) -> None:
        """Give the connection back, or close it if the file was not read to its end."""
        self._answer.close()

    def __enter__(self) -> "WebFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_file(web: Web, address: str, cancel: Cancel) -> WebFile:
    """See Client.fetch."""
    name = one_line(address)
    try:
        parts = urlsplit(address)
        user, at, rest = parts.netloc.rpartition("@")
        url = parse_url(parts._replace(netloc=rest, fragment="").geturl())
    except ValueError as error:
        raise RegistryError(f"{name} cannot be fetched: {error}") from None
    name = str(url)
    login = {}
    if at:
        pair = ":".join(unquote(part) for part in user.partition(":")[::2]).encode()
        login["Authorization"] = "Basic " + base64.b64encode(pair).decode()

    def sent(to: Url) -> Mapping[str, str]:
        return login if to.origin == url.origin else {}

    def attempt() -> WebFile:
        answer = web.follow("GET", url, sent, None, cancel)
        if answer.status != 200:
            raise refusal(answer, name)
        return WebFile(answer)

    return web.patience.persist(attempt, cancel)
