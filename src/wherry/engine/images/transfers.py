"""Pulls and pushes: the registries seen from the loop. Imported with the first transfer."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from wherry import linux_runtime
from wherry.engine.errors import InvalidRequest, NotFound, Unauthorized
from wherry.engine.images.failures import image_errors
from wherry.engine.images.flow import Flow
from wherry.engine.images.manifests import Manifests
from wherry.engine.images.registries import Registries, transfer_errors
from wherry.engine.worker import run_in_thread
from wherry.images import Image
from wherry.images.attachments import names_attachments
from wherry.images.transfer import Announced, Origins, Puller, Pusher, Tell
from wherry.images.transfer.lists import ManifestLists
from wherry.images.transfer.progress import Event
from wherry.oci import (
    Descriptor,
    Digest,
    MediaType,
    Platform,
    Reference,
    encode,
    parse_digest,
    parse_platform,
    parse_reference,
)
from wherry.registry import (
    Cancel,
    Client,
    Credentials,
    Hosts,
    Repository,
    WebFile,
)
from wherry.registry import NotFound as NotInRegistry

if TYPE_CHECKING:
    from wherry.engine.engine import Engine
    from wherry.engine.trust.remote import Fetched

T = TypeVar("T")

_Key = tuple[Reference, str, bool, Credentials | None, str]
_Flows = Flow[list[Image]] | Flow[None]


class Transfers:
    """Everything that moves between the engine's store and registries."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._store = engine.store
        self._client = Client(Hosts(_folders()))
        origins = Origins(engine.root / "images" / "origins.json", engine.store.blobs)
        self._puller = Puller(engine.store, origins)
        self._pusher = Pusher(engine.store, origins)
        lists = ManifestLists(engine.root / "manifests")
        self.registries = Registries(self._client)
        self.manifests = Manifests(engine.store, self._client, lists)
        self._pulls: dict[_Key, Flow[list[Image]]] = {}
        self._flows: set[_Flows] = set()
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """End what is under way; the next try goes on from there."""
        for flow in tuple(self._flows):
            flow.cancel()
        for flow in tuple(self._flows):
            await flow.ended()
        self._client.close()

    async def pull(
        self,
        name: str,
        platform: str = "",
        credentials: Credentials | None = None,
        *,
        all_tags: bool = False,
        verify_key: str = "",
    ) -> AsyncGenerator[Event, None]:
        """Bring an image, or with `all_tags` every image of a repository, into the store.

        Who asks for what is being pulled already joins that. `verify_key`, base64 of a public
        key's PEM, must have signed it. Raises NotFound, also where access is denied, Forbidden,
        InvalidRequest.
        """
        flow = self._pull(name, platform, credentials, all_tags, verify_key)
        try:
            with transfer_errors():
                async with aclosing(flow.follow()) as events:
                    async for event in events:
                        yield event
        except Unauthorized as error:
            # Docker's words and status: at another one its command asks for a password.
            raise NotFound(
                f"pull access denied for {name}, repository does not exist or may require "
                f"'docker login': {error.message}"
            ) from None

    def _pull(
        self,
        name: str,
        platform: str,
        credentials: Credentials | None,
        all_tags: bool = False,
        verify_key: str = "",
    ) -> Flow[list[Image]]:
        with image_errors():
            wanted = parse_platform(platform) if platform else None
            reference = parse_reference(name)
        if all_tags and (reference.tag or reference.digest):
            raise InvalidRequest("tag can't be used with --all-tags/-a")
        if not all_tags:
            reference = reference.with_default_tag()
        key = (reference, str(wanted or ""), all_tags, credentials, verify_key)
        flow = self._pulls.get(key)
        if flow is None:

            def work(tell: Tell, cancel: Cancel) -> list[Image]:
                repository = self._client.repository(reference, credentials, cancel)
                tags: list[str | None] = [reference.tag]
                if all_tags:
                    tags = [tag for tag in repository.tags() if not names_attachments(tag)]
                names = [replace(reference, tag=tag) for tag in tags]
                return self._work_pull(repository, names, wanted, verify_key, tell, cancel)

            def forget() -> None:
                if self._pulls.get(key) is started:
                    del self._pulls[key]

            flow = started = Flow(work, "pull", forget)
            self._pulls[key] = flow
            self._watch(flow)
        return flow

    def _work_pull(
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
        if not images:
            raise NotInRegistry(f"{repository.name} has no tags in its registry")
        return images

    def _pulled(self, reference: Reference, image: Image) -> None:
        self._publish("pull", reference)
        self._engine.builds.prepare(image)

    # Push

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
            wanted = parse_platform(platform) if platform else None
        if reference.digest:
            raise InvalidRequest("cannot push a digest reference: push one of its tags")
        todo = self._targets(reference, wanted)

        def work(tell: Tell, cancel: Cancel) -> None:
            self._work_push(reference, todo, credentials, tell, cancel)

        async with aclosing(self._push(work)) as events:
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

    def _work_push(
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
            self._loop.call_soon_threadsafe(self._publish, "push", named)

    def _attachments(
        self, repository: Repository, reference: Reference, target: Descriptor
    ) -> list[tuple[Descriptor, str]]:
        """The signatures of an image, and of each platform's, that its registry lacks."""
        subjects = [each for each in self._store.below(target) if self._store.attachments.of(each)]
        if not subjects:
            return []
        from wherry.engine.trust.remote import outgoing

        return outgoing(self._store, repository, reference, subjects)

    async def fetch_signatures(
        self, reference: Reference, subjects: Sequence[Digest], credentials: Credentials | None
    ) -> None:
        """Bring the signatures that manifests and indexes of a repository have in its registry."""
        from wherry.engine.trust.remote import fetch

        def work() -> None:
            repository = self._client.repository(reference, credentials, Cancel())
            with self._store.hold():
                for each in fetch(repository, subjects):
                    each.keep(self._store, reference)

        with transfer_errors():
            await run_in_thread(work, "signatures")

    async def signatures_of(
        self, reference: Reference, credentials: Credentials | None
    ) -> "tuple[Digest, list[Fetched]]":
        """What a name stands for in its registry, and the signatures of that; nothing is kept."""
        from wherry.engine.trust.remote import fetch

        def ask() -> "tuple[Digest, list[Fetched]]":
            repository = self._client.repository(reference, credentials, Cancel())
            target = repository.resolve(reference.digest or reference.tag or "latest")
            digest = parse_digest(target.digest)
            return digest, fetch(repository, [digest])

        with transfer_errors():
            return await run_in_thread(ask, "signatures")

    def open_url(self, url: str, cancel: Cancel) -> WebFile:
        """A file of the web; blocking. Raises RegistryError."""
        return self._client.fetch(url, cancel)

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
                    self._work_push(reference, todo, credentials, tell, cancel)
            finally:
                # Nothing is, of an image that was one already.
                self._store.discard(written)

        async with aclosing(self._push(work)) as events:
            async for event in events:
                yield event

    async def push_list(
        self, name: str, credentials: Credentials | None, *, purge: bool = False
    ) -> AsyncGenerator[Event, None]:
        """Send a manifest list, with those of its images that are here; with `purge` forget it."""
        with image_errors():
            reference = parse_reference(name).with_default_tag()
            found = self.manifests.get(reference)
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
                self.manifests.remove(name)

        async with aclosing(self._push(work)) as events:
            async for event in events:
                yield event

    async def _push(self, work: Callable[[Tell, Cancel], None]) -> AsyncGenerator[Event, None]:
        flow = Flow(work, "push", lambda: None)
        self._watch(flow)
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

    # Questions

    async def ask(self, work: Callable[[Manifests], T]) -> T:
        """Do `work` with manifests, in a thread. Raises NotFound, Unauthorized, InvalidRequest."""
        with transfer_errors():
            return await run_in_thread(lambda: work(self.manifests), "manifests")

    # Its own

    def _publish(self, action: str, reference: Reference) -> None:
        name = reference.familiar_name
        self._engine.events.publish("image", action, reference.familiar, {"name": name})

    def _watch(self, flow: _Flows) -> None:
        self._flows.add(flow)
        watching = asyncio.ensure_future(flow.ended())
        watching.add_done_callback(lambda _: self._flows.discard(flow))


def _folders() -> list[Path]:
    """Where people and other engines say how registries are reached."""
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return [
        Path("/etc/wherry/certs.d"),
        Path(own) / "wherry" / "certs.d",
        Path("/etc/containerd/certs.d"),
        Path("/etc/docker/certs.d"),
    ]
