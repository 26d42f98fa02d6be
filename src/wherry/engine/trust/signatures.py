"""The signatures of images in the store: shown to clients, and taken from those who signed."""

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from wherry.engine.errors import InvalidRequest, NotFound
from wherry.engine.images.failures import image_errors
from wherry.engine.trust.gate import names_of
from wherry.images import Image
from wherry.oci import Digest, InvalidReference, MediaType, Reference, digest_of, parse_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.engine.engine import Engine
    from wherry.registry import Credentials
    from wherry.trust import Signature


class SignedManifest(msgspec.Struct, kw_only=True, rename="pascal"):
    """One image of an index, by its manifest's digest."""

    digest: str
    platform: str


class SignatureDocument(msgspec.Struct, kw_only=True, rename="pascal"):
    """A signature as it is; nobody has verified it."""

    subject: str
    """The digest of what it hangs on."""
    form: str
    """simple, a document with a signature beside it; or bundle, a Sigstore bundle."""
    document: bytes
    """In JSON, base64."""
    encoded: str = ""
    """Of the simple form, the signature: base64."""


class SignatureList(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /images/NAME/signatures`."""

    reference: str
    """The name it was asked for by, in full; else one of its names; else empty."""
    repository: str
    """The same without tag and digest: what cosign signs it as."""
    digest: str
    """What its names point to, the index if there is one."""
    manifests: list[SignedManifest]
    """Those images of it that are in the store."""
    signatures: list[SignatureDocument]


class NewSignature(msgspec.Struct, kw_only=True, rename="pascal"):
    """`POST /images/NAME/signatures`: cosign's document, and the signature over it."""

    payload: bytes
    signature: bytes


class Signatures:
    """The signatures of the engine's images."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._store = engine.store

    async def show(
        self,
        name: str,
        *,
        remote: bool = False,
        credentials: "Credentials | None" = None,
        mirrors: "Mapping[str, Credentials]" = MappingProxyType({}),
    ) -> SignatureList:
        """All signatures of the image, and of each platform's if there are several.

        With `remote`, those in its registry or in `mirrors` of it are fetched first; an image that
        is only there stays there. Raises NotFound, EngineError.
        """
        try:
            image, manifests = self._images(name)
        except NotFound:
            if not remote:
                raise
            return await self._elsewhere(name, credentials, mirrors)
        subjects = _subjects(image, manifests)
        reference = names_of(image, name)[0]
        if remote and reference:
            transfers = await self._engine.images.transfers()
            await transfers.fetch_signatures(reference, subjects, credentials, mirrors)
        found = await asyncio.to_thread(self._documents, subjects)
        return SignatureList(
            reference=str(reference or ""),
            repository=reference.name if reference else "",
            digest=image.target.digest,
            manifests=[
                SignedManifest(digest=m.digest, platform=str(m.platform)) for m in manifests
            ],
            signatures=found,
        )

    async def _elsewhere(
        self, name: str, credentials: "Credentials | None", mirrors: "Mapping[str, Credentials]"
    ) -> SignatureList:
        with image_errors():
            reference = parse_reference(name).with_default_tag()
        transfers = await self._engine.images.transfers()
        digest, fetched = await transfers.signatures_of(reference, credentials, mirrors)
        return SignatureList(
            reference=str(reference),
            repository=reference.name,
            digest=digest,
            manifests=[],
            signatures=[
                _document(digest, signature) for each in fetched for signature in each.signatures
            ],
        )

    async def add(self, name: str, new: NewSignature) -> None:
        """Hang a signature on the image whose digest is in it. Raises NotFound, InvalidRequest."""
        image, manifests = self._images(name)
        await asyncio.to_thread(self._add, _subjects(image, manifests), name, new)
        self._engine.images.tell("sign", image.id, name)

    def _images(self, name: str) -> tuple[Image, list[Image]]:
        image = self._engine.images.resolve(name)
        with image_errors():
            return image, self._store.platforms(name)

    def _documents(self, subjects: list[Digest]) -> list[SignatureDocument]:
        from wherry.engine.trust.attached import signatures_in

        found = signatures_in(self._store, subjects)
        return [_document(each.subject, each.signature) for each in found]

    def _add(self, subjects: list[Digest], name: str, new: NewSignature) -> None:
        from wherry.engine.trust.attached import simple_manifests
        from wherry.trust import InvalidSignature, combine, part_of, read_payload, tag_of

        try:
            claims = read_payload(new.payload)
            signed_as = parse_reference(claims.identity)
        except (InvalidSignature, InvalidReference) as error:
            raise InvalidRequest(str(error)) from None
        if claims.digest not in subjects:
            raise InvalidRequest(f"what was signed is {claims.digest}, which is not image {name}")
        with image_errors(), self._store.hold():
            known = simple_manifests(self._store, claims.digest)
            part = part_of(new.payload, new.signature)
            try:
                manifest, config = combine(known, [part])
            except InvalidSignature as error:
                raise InvalidRequest(str(error)) from None
            blobs = {Digest(part.blob.digest): new.payload}
            if config:
                blobs[digest_of(config)] = config
            tag = Reference(signed_as.domain, signed_as.path, tag_of(claims.digest))
            self._store.attachments.add(claims.digest, MediaType.MANIFEST, manifest, blobs, tag)


def _document(subject: Digest, signature: "Signature") -> SignatureDocument:
    return SignatureDocument(
        subject=subject,
        form=signature.form,
        document=signature.document,
        encoded=signature.encoded,
    )


def _subjects(image: Image, manifests: list[Image]) -> list[Digest]:
    """The digests that signatures of an image may be about, the one its names point to first."""
    return [*dict.fromkeys((Digest(image.target.digest), *(each.digest for each in manifests)))]
