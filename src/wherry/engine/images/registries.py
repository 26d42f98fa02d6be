"""Registries as such: what they have, and who may log in. Imported with the first transfer."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from msgspec.structs import replace

from wherry.engine.errors import EngineError, InvalidRequest, NotFound, Unauthorized
from wherry.engine.filters import Filters
from wherry.engine.images.credentials import host_of
from wherry.engine.images.failures import image_errors
from wherry.engine.worker import run_in_thread
from wherry.images.transfer import look
from wherry.oci import Descriptor, Platform, parse_reference
from wherry.registry import Client, Credentials, Denied, RegistryError, SearchResult
from wherry.registry import NotFound as NotInRegistry

_SEARCH_FILTERS = {"is-automated", "is-official", "stars"}


class DistributionInspect(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /distribution/NAME/json`."""

    descriptor: Descriptor
    platforms: list[Platform]


class Registries:
    """Questions to registries."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def distribution(self, name: str, credentials: Credentials | None) -> DistributionInspect:
        """What a registry has under a name, and for which platforms. Raises NotFound."""
        with image_errors():
            reference = parse_reference(name).with_default_tag()

        def ask() -> DistributionInspect:
            repository = self._client.repository(reference, credentials)
            descriptor, platforms = look(repository, reference)
            return DistributionInspect(descriptor=descriptor, platforms=platforms)

        with transfer_errors():
            return await run_in_thread(ask, "distribution")

    async def search(
        self, term: str, limit: int, filters: Filters, credentials: Credentials | None
    ) -> list[SearchResult]:
        """Repositories that fit `term`, which may begin with a registry. Raises InvalidRequest."""
        filters.check(_SEARCH_FILTERS)
        least = filters.one("stars") or "0"
        if not (least.isascii() and least.isdecimal()):
            raise InvalidRequest(f"invalid filter 'stars={least[:80]}': a number is meant")
        stars = int(least[:19])
        with image_errors():
            reference = parse_reference(term)
        on_docker_io = reference.domain == "docker.io"
        # Docker's own registry is not asked for `library/`.
        path = reference.familiar_name if on_docker_io else reference.path
        with transfer_errors():
            found = await run_in_thread(
                lambda: self._client.search(reference.domain, path, limit, credentials), "search"
            )
        if not on_docker_io:  # What is found can then be pulled by the name that is told.
            found = [replace(each, name=f"{reference.domain}/{each.name}") for each in found]
        official, automated = filters.flag("is-official"), filters.flag("is-automated")
        return [
            each
            for each in found
            if each.star_count >= stars
            and official in (None, each.is_official)
            and automated in (None, each.is_automated)
        ]

    async def mirrors(self, domain: str) -> list[str]:
        """The mirrors that are asked before a registry, by host[:port]."""
        with transfer_errors():
            return await run_in_thread(lambda: self._client.mirrors(domain), "mirrors")

    async def login(self, address: str, credentials: Credentials) -> str:
        """Try credentials at a registry; an identity token to use instead of them, or "".

        Raises Unauthorized.
        """
        domain = host_of(address) or "docker.io"
        if domain == "index.docker.io":
            domain = "docker.io"
        with transfer_errors():
            return await run_in_thread(lambda: self._client.login(domain, credentials), "login")


@contextmanager
def transfer_errors() -> Iterator[None]:
    """The errors of the store and of registries as the engine's."""
    try:
        with image_errors():
            yield
    except NotInRegistry as error:
        raise NotFound(str(error)) from None
    except Denied as error:
        raise Unauthorized(str(error)) from None
    except RegistryError as error:
        raise EngineError(str(error)) from None
