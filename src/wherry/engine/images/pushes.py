"""Pushes: images, lists of images, and artifacts."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from wherry.engine.errors import InvalidRequest, NotFound
from wherry.engine.images.failures import image_errors
from wherry.engine.images.flow import Flows
from wherry.engine.images.manifests import Manifests
from wherry.engine.images.platforms import read_platform
from wherry.engine.images.registries import transfer_errors
from wherry.images.transfer import Announced, Origins, Pusher, Tell
from wherry.images.transfer.progress import Event
from wherry.oci import (
    Descriptor,
    Digest,
    MediaType,
    Platform,
    Reference,
    encode,
    parse_reference,
)
from wherry.registry import Cancel, Client, Credentials, Repository

if TYPE_CHECKING:
    from wherry.engine.engine import Engine


class Pushes:
    """What goes from the store to registries, with the signatures that hang on it."""

    def __init__(
        self,
        engine: "Engine",
        client: Client,
        flows: Flows,
        origins: Origins,
        manifests: Manifests,
    ) -> None:
        self._engine = engine
        self._store = engine.store
        self._client = client
        self._flows = flows
        self._pusher = Pusher(engine.store, origins)
        self._manifests = manifests
        self._loop = asyncio.get_running_loop()

    async def push(
        self,
        name: str,
        tag: str = "",
        platform: str = "",
        credentials: Credentials | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Send the image `name` with `tag` to its registry; without a tag all that `name` has.

        Of an index, `platform` chooses one image. Raises NotFound, Unauthorized, InvalidRequest.
        """
        with image_errors():
            reference = parse_reference(f"{name}:{tag}" if tag else name)
            wanted = read_platform(platform)
        if reference.digest:
            raise InvalidRequest("cannot push a digest reference: push one of its tags")
        todo = self._targets(reference, wanted)

        def work(tell: Tell, cancel: Cancel) -> None:
            self._send(reference, todo, credentials, tell, cancel)

        async with aclosing(self._run(work)) as events:
            async for event in events:
                yield event

    def _targets(
        self, reference: Reference, platform: Platform | None
    ) -> list[tuple[Reference, Descriptor]]:
        """The names to push, and what each points to. Raises NotFound."""
        found = self._store.references(reference)
        if reference.tag:
            found = [(named, target) for named, target in found if named == reference]
        if not found:
            name = reference.familiar_name
            raise NotFound(f"An image does not exist locally with the tag: {name}")
        if platform is None:
            return found
        with image_errors():
            return [
                (named, self._store.resolve(named.familiar, platform).descriptor)
                for named, _ in found
            ]

    def _send(
        self,
        reference: Reference,
        todo: Sequence[tuple[Reference, Descriptor]],
        credentials: Credentials | None,
        tell: Tell,
        cancel: Cancel,
    ) -> None:
        tell(Announced(f"The push refers to repository [{reference.name}]"))
        repository = self._client.repository(reference, credentials, cancel, push=True)
        for named, target in todo:
            with self._store.hold():
                self._pusher.push(
                    repository,
                    named,
                    target,
                    tell,
                    cancel,
                    elsewhere=self._elsewhere(reference, credentials, cancel),
                    attachments=self._attachments(repository, named, target),
                )
            self._loop.call_soon_threadsafe(self._pushed, named)
        for warning in repository.warnings:
            tell(Announced(f"Warning from {repository.name}: {warning}"))

    def _attachments(
        self, repository: Repository, reference: Reference, target: Descriptor
    ) -> list[tuple[Descriptor, str]]:
        """The signatures of an image, and of each platform's, that its registry lacks."""
        subjects = [each for each in self._store.below(target) if self._store.attachments.of(each)]
        if not subjects:
            return []
        from wherry.engine.trust.remote import outgoing

        return outgoing(self._store, repository, reference, subjects)

    async def push_artifact(
        self,
        name: str,
        tag: str,
        source: str,
        platform: str = "",
        credentials: Credentials | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Send the program of the image `source` as a Wasm artifact called `name`.

        The store keeps none of it. Raises NotFound, Unauthorized, InvalidRequest, also for an
        image of which an artifact would lose something.
        """
        from wherry.engine.artifacts import make_artifact

        with image_errors():
            reference = parse_reference(f"{name}:{tag}" if tag else name).with_default_tag()
        image = self._engine.images.resolve(source, platform or None)

        def work(tell: Tell, cancel: Cancel) -> None:
            written: list[Digest] = []
            try:
                with self._store.hold():
                    made = make_artifact(self._store, image)
                    written += made.blobs
                    todo = [(reference, made.descriptor)]
                    self._send(reference, todo, credentials, tell, cancel)
            finally:
                # Nothing is, of an image that was one already.
                self._store.discard(written)

        async with aclosing(self._run(work)) as events:
            async for event in events:
                yield event

    async def push_list(
        self, name: str, credentials: Credentials | None, *, purge: bool = False
    ) -> AsyncGenerator[Event, None]:
        """Send a manifest list, with those of its images that are here; with `purge` forget it."""
        with image_errors():
            reference = parse_reference(name).with_default_tag()
            found = self._manifests.get(reference)
            members = [parse_reference(member.name) for member in found.members]

        def work(tell: Tell, cancel: Cancel) -> None:
            index = found.document()
            paths = [each.path for each in members if each.domain == reference.domain]
            repository = self._client.repository(reference, credentials, cancel, push=True)
            with self._store.hold():
                target = self._store.blobs.write(index.media_type or MediaType.INDEX, encode(index))
                self._pusher.push(
                    repository,
                    reference,
                    target,
                    tell,
                    cancel,
                    elsewhere=self._elsewhere(reference, credentials, cancel),
                    sources=paths,
                )
            self._store.discard([Digest(target.digest)])
            if purge:
                self._manifests.remove(name)

        async with aclosing(self._run(work)) as events:
            async for event in events:
                yield event

    async def _run(self, work: Callable[[Tell, Cancel], None]) -> AsyncGenerator[Event, None]:
        flow = self._flows.start(work, "push")
        with transfer_errors():
            async with aclosing(flow.follow()) as events:
                async for event in events:
                    yield event

    def _elsewhere(
        self, reference: Reference, credentials: Credentials | None, cancel: Cancel
    ) -> Callable[[str], Repository]:
        def open_other(path: str) -> Repository:
            return self._client.repository(Reference(reference.domain, path), credentials, cancel)

        return open_other

    def _pushed(self, reference: Reference) -> None:
        self._engine.images.tell("push", reference.familiar, reference.familiar_name)
