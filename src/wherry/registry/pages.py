"""Lists that come in pages (distribution-spec, "Listing Tags")."""

from collections.abc import Collection, Iterator

import msgspec

from wherry.registry.errors import InvalidAnswer
from wherry.registry.exchange import Exchange
from wherry.registry.headers import next_page
from wherry.registry.url import Url

_MAX_PAGE = 16 << 20
_MAX_TEXT = 300


def texts(
    server: Exchange, where: Url, name: str, scopes: Collection[str], field: str, limit: int
) -> Iterator[str]:
    """The texts of the list `field` on all pages; the first page is fetched at once.

    Raises InvalidAnswer when a page comes twice, or there are more than `limit` texts.
    """
    return _rest(server, _page(server, where, name, scopes, field), name, scopes, field, limit)


def _page(
    server: Exchange, where: Url, name: str, scopes: Collection[str], field: str
) -> tuple[list[str], Url, Url | None]:
    answer = server.ask("GET", where, name, scopes)
    link = next_page(answer.headers.get("Link"))
    following = answer.url.joined(link) if link else None
    document = answer.document(dict[str, msgspec.Raw], _MAX_PAGE, f"the list of {name}")
    try:
        raw = document.get(field)
        found = msgspec.json.decode(raw, type=list[str] | None) if raw is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidAnswer(f"the list of {name} is none: {error}") from None
    return [text for text in found or [] if len(text) <= _MAX_TEXT], where, following


def _rest(
    server: Exchange,
    page: tuple[list[str], Url, Url | None],
    name: str,
    scopes: Collection[str],
    field: str,
    limit: int,
) -> Iterator[str]:
    seen: set[Url] = set()
    count = 0
    while True:
        found, where, following = page
        seen.add(where)
        for text in found:
            count += 1
            if count > limit:
                raise InvalidAnswer(f"{name} lists more than {limit} {field}")
            yield text
        if following is None:
            return
        if following in seen or not found:
            raise InvalidAnswer(f"the list of {name} goes round in circles")
        page = _page(server, following, name, scopes, field)
