"""Pulls: one for all who ask for the same."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec.structs import replace

from wherry import linux_runtime
from wherry.engine.errors import InvalidRequest, NotFound, Unauthorized
from wherry.engine.images.credentials import NOBODY, Credentials, by_host
from wherry.engine.images.failures import image_errors
from wherry.engine.images.flow import Flow, Flows
from wherry.engine.images.platforms import read_platform
from wherry.engine.images.registries import transfer_errors
from wherry.images import Image
from wherry.images.attachments import names_attachments
from wherry.images.transfer import Announced, Origins, Puller, Tell
from wherry.images.transfer.progress import Event
from wherry.oci import Platform, Reference, parse_reference
from wherry.registry import Cancel, Client, Repository
from wherry.registry import NotFound as NotInRegistry

if TYPE_CHECKING:
    from wherry.engine.engine import Engine

_Key = tuple[Reference, str, bool, Credentials | None, frozenset[tuple[str, Credentials]], str]


class Pulls:
    """Images on their way into the store. Tags and digests are chosen here, layers below."""

    def __init__(self, engine: "Engine", client: Client, flows: Flows, origins: Origins) -> None:
        self._engine = engine
        self._client = client
        self._flows = flows
        self._puller = Puller(engine.store, origins)
        self._known: dict[_Key, Flow[list[Image]]] = {}
        self._loop = asyncio.get_running_loop()

    async def pull(
        self,
        name: str,
        platform: str = "",
        credentials: Credentials | None = None,
        *,
        mirrors: Mapping[str, Credentials] = NOBODY,
        all_tags: bool = False,
        verify_key: str = "",
    ) -> AsyncGenerator[Event, None]:
        """Bring an image, or with `all_tags` every image of a repository, into the store.

        Who asks for what is being pulled already joins that. `mirrors` are the logins for mirrors
        of the registry, by their addresses. `verify_key`, base64 of a public key's PEM, must have
        signed it. Raises NotFound, also where access is denied, Forbidden,
        InvalidRequest.
        """
        flow = self._flow(name, platform, credentials, by_host(mirrors), all_tags, verify_key)
        try:
            with transfer_errors():
                async with aclosing(flow.follow()) as events:
                    async for event in events:
                        yield event
        except Unauthorized as error:
            # Docker's words and status: at another one its command asks for a password.
            said = error.message.removeprefix(f"{name}: ").removeprefix(f"{name}:latest: ")
            raise NotFound(
                f"pull access denied for {name}, repository does not exist or may require "
                f"'docker login': {said}"
            ) from None

    def _flow(
        self,
        name: str,
        platform: str,
        credentials: Credentials | None,
        mirrors: Mapping[str, Credentials],
        all_tags: bool,
        verify_key: str,
    ) -> Flow[list[Image]]:
        with image_errors():
            wanted = read_platform(platform)
            reference = parse_reference(name)
        if all_tags and (reference.tag or reference.digest):
            raise InvalidRequest("tag can't be used with --all-tags/-a")
        if not all_tags:
            reference = reference.with_default_tag()
        logins = credentials, frozenset(mirrors.items())
        key = (reference, str(wanted or ""), all_tags, *logins, verify_key)
        flow = self._known.get(key)
        if flow is None:

            def work(tell: Tell, cancel: Cancel) -> list[Image]:
                repository = self._client.repository(reference, credentials, cancel, others=mirrors)
                tags: list[str | None] = [reference.tag]
                if all_tags:
                    tags = [tag for tag in repository.tags() if not names_attachments(tag)]
                names = [replace(reference, tag=tag) for tag in tags]
                return self._work(repository, names, wanted, verify_key, tell, cancel)

            def forget() -> None:
                if self._known.get(key) is started:
                    del self._known[key]

            flow = started = self._flows.start(work, "pull", forget)
            self._known[key] = flow
        return flow

    def _work(
        self,
        repository: Repository,
        names: Sequence[Reference],
        platform: Platform | None,
        verify_key: str,
        tell: Tell,
        cancel: Cancel,
    ) -> list[Image]:
        images = []
        for name in names:
            pulled = self._puller.pull(
                repository,
                name,
                platform,
                tell,
                cancel,
                linux=linux_runtime.is_there(),
                approve=self._engine.gate.approval(repository, name, verify_key),
            )
            images.append(pulled.image)
            self._loop.call_soon_threadsafe(self._pulled, name, pulled.image)
        for warning in repository.warnings:
            tell(Announced(f"Warning from {repository.name}: {warning}"))
        if not images:
            raise NotInRegistry(f"{repository.name} has no tags in its registry")
        return images

    def _pulled(self, reference: Reference, image: Image) -> None:
        self._engine.images.tell("pull", reference.familiar, reference.familiar_name)
        self._engine.builds.prepare(image)
