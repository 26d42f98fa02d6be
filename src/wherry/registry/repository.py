"""One repository of a registry: what the distribution API has for it (distribution-spec 1.1)."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, TypeVar

from wherry.oci import Descriptor, MediaType, Reference, digest_of, parse_digest
from wherry.registry.answer import Answer
from wherry.registry.blob_stream import BlobStream
from wherry.registry.documents import MANIFESTS, described, manifest_of
from wherry.registry.errors import (
    UNANSWERED,
    Abandoned,
    Denied,
    InvalidAnswer,
    NotFound,
    RegistryError,
    Unreachable,
)
from wherry.registry.exchange import Exchange
from wherry.registry.pages import texts
from wherry.registry.referrers import (
    add_to_fallback,
    ask_referrers,
    fallback_tag,
    listed,
    subject_of,
    with_type,
)
from wherry.registry.upload import Upload
from wherry.registry.url import Url

T = TypeVar("T")

_TRIES_OF_A_MIRROR = 2
_UNSUPPORTED_TYPE = 415
_NO_SUCH_RANGE = 416
_MAX_TAGS = 1_000_000
_TAG = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}")


class Repository:
    """Reads from the mirrors first, in order, then from the registry itself; writes to that alone.

    All of it raises RegistryError. Thread-safe.
    """

    def __init__(
        self, reference: Reference, server: Exchange, mirrors: Sequence[Exchange], push: bool
    ) -> None:
        self.name = reference.name
        """Domain and path."""
        self._path = reference.path
        self._server = server
        self._mirrors = tuple(mirrors)
        self._actions = "pull,push" if push else "pull"
        self._given_up: set[Exchange] = set()
        self._sessions: dict[str, Url] = {}  # of mounts that came to nothing

    @property
    def warnings(self) -> list[str]:
        """What the servers wanted people to know, each text once."""
        return [*dict.fromkeys(w for s in (self._server, *self._mirrors) for w in s.warnings)]

    def resolve(self, reference_or_digest: str) -> Descriptor:
        """What a tag or digest names: its digest, size and media type."""

        def ask(server: Exchange, tries: int | None) -> Descriptor:
            where = self._manifest_path(reference_or_digest)
            name = self._named(reference_or_digest)
            try:
                with self._ask(server, "HEAD", where, name, MANIFESTS, tries) as answer:
                    found = described(answer, reference_or_digest)
            except (NotFound, Unreachable, Abandoned):
                raise
            except RegistryError:
                found = None  # not every registry answers HEAD
            return found or self._fetch_manifest(server, reference_or_digest, tries)[0]

        return self._read(ask, reference_or_digest)

    def manifest(self, tag_or_digest: str) -> tuple[Descriptor, bytes]:
        """A manifest or index, at most 4 MiB, its digest checked."""
        return self._read(
            lambda server, tries: self._fetch_manifest(server, tag_or_digest, tries), tag_or_digest
        )

    def blob(self, descriptor: Descriptor, offset: int = 0) -> BlobStream:
        """The bytes of a blob from `offset` on; its digest is for the reader to check."""
        digest = parse_digest(descriptor.digest)

        def ask(server: Exchange, tries: int | None) -> BlobStream:
            def ask_from(at: int) -> Answer:
                # With its last byte: not everybody understands an open range.
                answer = server.ask(
                    "GET",
                    f"{self._path}/blobs/{digest}",
                    f"{self.name}@{digest}",
                    self._scopes(server),
                    expect=(200, 206, _NO_SUCH_RANGE) if at else (200, 206),
                    headers={"Range": f"bytes={at}-{descriptor.size - 1}"} if at else {},
                    tries=tries,
                )
                if answer.status != _NO_SUCH_RANGE:
                    return answer
                answer.close()
                return ask_from(0)

            def distrust() -> bool:
                self._given_up.add(server)
                return server is not self._server

            return BlobStream(
                descriptor, offset, ask_from, server.patience, server.cancel, distrust
            )

        return self._read(ask, digest)

    def has_blob(self, digest: str) -> bool:
        """Whether the registry itself has a blob, so that it need not be sent."""
        where = f"{self._path}/blobs/{parse_digest(digest)}"
        try:
            name = f"{self.name}@{digest}"
            self._server.ask("HEAD", where, name, self._scopes(self._server)).close()
        except NotFound:
            return False
        except (Denied, *UNANSWERED):
            raise
        except RegistryError:
            return False  # not every registry answers HEAD: what it has is sent once more
        return True

    def mount(self, digest: str, from_path: str) -> bool:
        """Have the registry take a blob over from another of its repositories.

        False if it does not, or does not know how: the blob has to be uploaded.
        """
        query = ("mount", parse_digest(digest)), ("from", from_path)
        try:
            answer = self._server.ask(
                "POST",
                self._server.url(f"{self._path}/blobs/uploads/", *query),
                self.name,
                {*self._scopes(self._server), f"repository:{from_path}:pull"},
                expect=(201, 202),
                body=b"",
            )
        except UNANSWERED:
            raise
        except RegistryError:
            return False  # perhaps because of the other one: the upload will tell
        answer.close()
        if answer.status == 202:
            self._sessions[digest] = self._server.location(answer)
        return answer.status == 201

    def upload(
        self,
        descriptor: Descriptor,
        open_at: Callable[[int], BinaryIO],
        progress: Callable[[int], None],
    ) -> None:
        """Send a blob; what was cut goes on from where the registry has it.

        `open_at(offset)` gives a file with the blob's bytes from there on, and may be called
        several times. `progress` gets how many bytes have been sent so far, which may go back.
        """
        Upload(
            self._server,
            self._path,
            self._scopes(self._server),
            descriptor,
            open_at,
            progress,
            self._sessions.pop(descriptor.digest, None),
        ).send()

    def put_manifest(self, tag_or_digest: str, media_type: str, data: bytes) -> None:
        """Store a manifest or index. Everything it refers to has to be there."""
        digest = digest_of(data)
        if ":" in tag_or_digest and tag_or_digest != digest:
            raise InvalidAnswer(f"{tag_or_digest} is not the digest of what is to be pushed")
        answer = self._server.ask(
            "PUT",
            self._manifest_path(tag_or_digest),
            self._named(tag_or_digest),
            self._scopes(self._server),
            expect=(201, 202, 200, _UNSUPPORTED_TYPE),
            headers={"Content-Type": media_type},
            body=data,
        )
        with answer:
            if answer.status == _UNSUPPORTED_TYPE:
                raise self._unsupported(media_type)
            told = answer.headers.get("Docker-Content-Digest", digest)
            if told.startswith("sha256:") and told != digest:
                raise InvalidAnswer(f"{self._named(tag_or_digest)} was stored as {told[:80]}")
            lists_referrers = "OCI-Subject" in answer.headers
        if not lists_referrers and (found := subject_of(media_type, data, digest)):
            self._list_referrer(*found)

    def referrers(self, digest: str, artifact_type: str = "") -> list[Descriptor]:
        """What has `digest` as its subject: of an artifact type, or of all."""
        path = f"{self._path}/referrers/{parse_digest(digest)}"
        query = [("artifactType", artifact_type)] if artifact_type else []

        def ask(server: Exchange, tries: int | None) -> list[Descriptor]:
            name = self._named(digest)
            try:
                where = server.url(path, *query)
                found = ask_referrers(server, where, name, self._scopes(server))
            except (Denied, InvalidAnswer, *UNANSWERED):
                raise
            except RegistryError:  # it has no such API
                try:
                    data = self._fetch_manifest(server, fallback_tag(digest), tries)[1]
                    found = listed(data, name)
                except (NotFound, InvalidAnswer):  # a tag may be anything
                    return []
            return with_type(found, artifact_type)

        return self._read(ask, "tag")

    def tags(self) -> Iterator[str]:
        """All tags, as they come; what is no tag by the specification is left out."""

        def ask(server: Exchange, _: int | None) -> Iterator[str]:
            where = server.url(f"{self._path}/tags/list", ("n", "1000"))
            found = texts(server, where, self.name, self._scopes(server), "tags", _MAX_TAGS)
            return (tag for tag in found if _TAG.fullmatch(tag))

        return self._read(ask, "tag")

    def _unsupported(self, media_type: str) -> RegistryError:
        advice = "allow it there"
        if media_type in (MediaType.DOCKER_INDEX, MediaType.DOCKER_MANIFEST):
            advice += ", or push a copy in OCI's form, made by 'skopeo copy --format oci'"
        return RegistryError(
            f"the registry of {self.name} takes no manifests of {media_type}: {advice}"
        )

    def _list_referrer(self, subject: str, descriptor: Descriptor) -> None:
        """What registries without the referrers API leave to their clients."""
        tag = fallback_tag(subject)
        add_to_fallback(
            descriptor,
            lambda: self._fetch_manifest(self._server, tag, None)[1],
            lambda data: self.put_manifest(tag, MediaType.INDEX, data),
            subject,
        )

    def _fetch_manifest(
        self, server: Exchange, reference: str, tries: int | None
    ) -> tuple[Descriptor, bytes]:
        name = self._named(reference)
        where = self._manifest_path(reference)
        return manifest_of(self._ask(server, "GET", where, name, MANIFESTS, tries), reference, name)

    def _ask(
        self,
        server: Exchange,
        method: str,
        where: str,
        name: str,
        accept: str,
        tries: int | None,
    ) -> Answer:
        headers = {"Accept": accept}
        return server.ask(method, where, name, self._scopes(server), headers=headers, tries=tries)

    def _read(self, ask: Callable[[Exchange, int | None], T], what: str) -> T:
        """Ask the mirrors that can, then the registry. `what` is a tag or digest."""
        needed = "pull" if ":" in what else "resolve"
        for mirror in self._mirrors:
            if needed not in mirror.host.capabilities or mirror in self._given_up:
                continue
            try:
                return ask(mirror, _TRIES_OF_A_MIRROR)
            except Abandoned:
                raise
            except Unreachable:
                self._given_up.add(mirror)
            except RegistryError:
                continue
        return ask(self._server, None)

    def _scopes(self, server: Exchange) -> frozenset[str]:
        prefix = server.host.path.rpartition("/v2")[2].strip("/")
        path = f"{prefix}/{self._path}" if prefix else self._path
        actions = self._actions if server is self._server else "pull"
        return frozenset({f"repository:{path}:{actions}"})

    def _manifest_path(self, reference: str) -> str:
        return f"{self._path}/manifests/{reference}"

    def _named(self, reference: str) -> str:
        return f"{self.name}{'@' if ':' in reference else ':'}{reference}"
