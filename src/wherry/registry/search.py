"""Looking for images by a term: Docker's v1 search, else a registry's whole catalog."""

from collections.abc import Iterator
from itertools import islice

import msgspec

from wherry.registry.errors import UNANSWERED, NotFound, RegistryError, one_line
from wherry.registry.exchange import Exchange
from wherry.registry.hosts import DOCKER_HUB
from wherry.registry.pages import texts

_CATALOG = "registry:catalog:*"
_MAX_CATALOG = 1_000_000
_MAX_ANSWER = 8 << 20


class SearchResult(msgspec.Struct, frozen=True):
    """An image that was found."""

    name: str
    """Without the registry's domain."""
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Found(msgspec.Struct):
    name: str
    description: str | None = None
    star_count: int | None = None
    is_official: bool | None = None
    is_automated: bool | None = None


class _Answer(msgspec.Struct):
    results: list[_Found] = []


def search(server: Exchange, domain: str, term: str, limit: int) -> list[SearchResult]:
    """Up to `limit` images whose names have to do with `term`. Raises RegistryError."""
    root = server.url("")
    version_1 = msgspec.structs.replace(root, target="/v1/search")
    if domain == DOCKER_HUB:  # its search is at another place than its images
        version_1 = msgspec.structs.replace(version_1, host="index.docker.io")
    where = version_1.asking(("q", term), ("n", str(limit)))
    try:
        answer = server.ask("GET", where, f"the search of {domain}")
        found = answer.document(_Answer, _MAX_ANSWER, f"the search of {domain}").results
    except UNANSWERED:
        raise
    except RegistryError:  # what has no search answers in many ways
        return list(islice(_catalog(server, domain, term), limit))
    return [
        SearchResult(
            name=one_line(each.name),
            description=one_line(each.description or ""),
            star_count=each.star_count or 0,
            is_official=bool(each.is_official),
            is_automated=bool(each.is_automated),
        )
        for each in found[:limit]
    ]


def _catalog(server: Exchange, domain: str, term: str) -> Iterator[SearchResult]:
    where = server.url("_catalog", ("n", "1000"))
    name = f"the catalog of {domain}"
    try:
        repositories = texts(server, where, name, {_CATALOG}, "repositories", _MAX_CATALOG)
    except NotFound as error:
        raise RegistryError(
            f"{domain} cannot be searched: it has no search and no catalog"
        ) from error
    for repository in repositories:
        if term.lower() in repository.lower():
            yield SearchResult(name=one_line(repository))
