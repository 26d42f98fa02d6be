"""What refers to a manifest: signatures, bills of materials (distribution-spec, "Referrers").

Registries of 1.1 are asked; for others there is an index under the tag `sha256-HEX`, which whoever
pushes a manifest with a `subject` has to keep up himself.
"""

from collections.abc import Callable, Collection

import msgspec

from wherry.oci import Descriptor, Index, InvalidDocument, Manifest, MediaType, decode, encode
from wherry.oci.document import MAX_DOCUMENT
from wherry.registry.errors import InvalidAnswer, NotFound
from wherry.registry.exchange import Exchange
from wherry.registry.headers import next_page
from wherry.registry.url import Url

_MAX_PAGES = 100


def fallback_tag(digest: str) -> str:
    """The tag under which registries without the API keep the referrers of `digest`."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def ask_referrers(
    server: Exchange, where: Url, name: str, scopes: Collection[str]
) -> list[Descriptor]:
    """All that the API lists. Raises NotFound where there is no API, RegistryError."""
    found: list[Descriptor] = []
    page: Url | None = where
    seen: set[Url] = set()
    while page is not None:
        if page in seen or len(seen) >= _MAX_PAGES:
            raise InvalidAnswer(f"the list of what refers to {name} does not end")
        seen.add(page)
        answer = server.ask(
            "GET", page, name, scopes, headers={"Accept": MediaType.INDEX}, tries=None
        )
        link = next_page(answer.headers.get("Link"))
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        page = answer.url.joined(link) if link else None
        data = answer.body(MAX_DOCUMENT, f"what refers to {name}")
        if kind != MediaType.INDEX:  # a page for people, of a server that answers everything
            raise NotFound(f"{server.host.authority} does not list what refers to {name}")
        found += listed(data, name)
    return found


def listed(data: bytes, name: str) -> list[Descriptor]:
    """The descriptors of an index of referrers. Raises InvalidAnswer."""
    try:
        return decode(data, Index, f"what refers to {name}").manifests
    except InvalidDocument as error:
        raise InvalidAnswer(str(error)) from None


def with_type(found: list[Descriptor], artifact_type: str) -> list[Descriptor]:
    """Those of an artifact type, each digest once; all for an empty one."""
    chosen = {
        each.digest: each
        for each in found
        if not artifact_type or (each.artifact_type or "") == artifact_type
    }
    return list(chosen.values())


def subject_of(media_type: str, data: bytes, digest: str) -> tuple[str, Descriptor] | None:
    """What a manifest to be pushed refers to, and how it is listed there; None for nothing."""
    if media_type not in MediaType.INDEXES | MediaType.MANIFESTS:
        return None
    kind: type[Manifest | Index] = Index if media_type in MediaType.INDEXES else Manifest
    try:
        document = decode(data, kind, digest)
    except InvalidDocument:
        return None  # for the registry to refuse
    if document.subject is msgspec.UNSET or document.subject is None:
        return None
    artifact_type = document.artifact_type or None
    if artifact_type is None and isinstance(document, Manifest):
        artifact_type = document.config.media_type
    return document.subject.digest, Descriptor(
        media_type=media_type,
        digest=digest,
        size=len(data),
        artifact_type=artifact_type,
        annotations=document.annotations or None,
    )


def add_to_fallback(
    descriptor: Descriptor,
    read: Callable[[], bytes],
    write: Callable[[bytes], None],
    name: str,
) -> None:
    """List one more referrer in the index that `read` returns (NotFound if there is none yet)."""
    try:
        found = listed(read(), name)
    except NotFound:
        found = []
    if any(each.digest == descriptor.digest for each in found):
        return
    write(encode(Index(schema_version=2, manifests=[*found, descriptor])))
