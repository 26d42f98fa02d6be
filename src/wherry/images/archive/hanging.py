"""What hangs on images, in archives: signatures beside the images that they are of.

There, too, it is a manifest in `index.json`. On what it hangs is said as containerd and Docker say
it when they save (Docker since 29.1, which makes no image of what says so), and by the marks of
`cosign save`, by which `cosign verify --local-image` finds the one image of an archive and its
signatures. What others write is read as well: names made of the digest, and OCI's own `subject`.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

from msgspec.structs import replace

from wherry.images.attachments import Attached, Attachments, subject_of_tag
from wherry.images.blobs import BlobStore
from wherry.images.catalog import REF_NAME, SUBJECT, Attachment, reference_of, unnamed
from wherry.images.errors import ImageError, ImageNotFound, InvalidImage
from wherry.images.image import checked, descend, manifest_of, read_manifest
from wherry.images.reach import Key, Reach, key_of
from wherry.oci import Descriptor, Digest, Manifest, MediaType

MAX_ATTACHMENTS = 1000
"""In one archive."""
CONTAINERD_SUBJECT = "io.containerd.manifest.subject"
_KIND = "kind"
_COSIGN = "dev.cosignproject.cosign/"
_SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
_WHOLE = frozenset({f"{_COSIGN}image", f"{_COSIGN}imageIndex"})
_PARTS = frozenset({f"{_COSIGN}sigs", f"{_COSIGN}atts"})


def attached_to(
    subjects: Iterable[Digest], attachments: Attachments, reach: Reach
) -> list[Attached]:
    """All that hangs on `subjects`, and on that in turn; what is damaged is passed over.

    The same store gives it in the same order.
    """
    found: dict[tuple[Digest, str], Attached] = {}
    pending = deque(subjects)
    while pending:
        for each in attachments.of(pending.popleft()):
            if (each.subject, each.target.digest) in found:
                continue
            with suppress(ImageError):
                reach.verify_attachment(each.target)
                found[each.subject, each.target.digest] = each
                pending.append(Digest(each.target.digest))
    return sorted(found.values(), key=lambda each: (each.subject, each.target.digest))


def blobs_of(attached: Attached) -> list[Digest]:
    """All that it consists of. Raises InvalidImage."""
    manifest = _manifest(attached)
    parts = (attached.target, manifest.config, *manifest.layers)
    return [checked(part.digest) for part in parts]


def listed(images: Sequence[Descriptor], hanging: Sequence[Attached]) -> list[Descriptor]:
    """The images of an archive and what hangs on them as they stand in its `index.json`."""
    if not hanging:
        return [*images]
    digests = {each.digest for each in images}
    whole = digests.pop() if len(digests) == 1 else ""  # cosign knows of one
    found = [_marked(each, _kind(each)) if each.digest == whole else each for each in images]
    for each in hanging:
        manifest = _manifest(each)
        kind = manifest.artifact_type or each.target.artifact_type
        entry = replace(each.target, annotations=None, artifact_type=kind or None)
        entry = _marked(entry, each.subject, CONTAINERD_SUBJECT)
        if each.subject == whole and any(part.media_type == _SIMPLE for part in manifest.layers):
            entry = _marked(entry, f"{_COSIGN}sigs")
        found.append(entry)
    return found


def _manifest(attached: Attached) -> Manifest:
    return manifest_of(Digest(attached.target.digest), attached.manifest)


def _marked(entry: Descriptor, value: str, key: str = _KIND) -> Descriptor:
    return replace(entry, annotations={**(entry.annotations or {}), key: value})


def _kind(image: Descriptor) -> str:
    return f"{_COSIGN}imageIndex" if image.media_type in MediaType.INDEXES else f"{_COSIGN}image"


def by_cosign(entries: Sequence[Descriptor]) -> bool:
    """Whether `cosign save` wrote them."""
    return any(_mark(each) in _WHOLE for each in entries)


def split(
    blobs: BlobStore, entries: Sequence[Descriptor]
) -> tuple[list[Descriptor], list[Attachment]]:
    """The images among the entries of an `index.json`, and what hangs on them.

    What hangs on something that is not in the archive is left out. Raises InvalidImage.
    """
    whole = [each.digest for each in entries if _mark(each) in _WHOLE]
    images, hanging = [], []
    own: dict[Key, Digest | None] = {}
    for each in entries:
        subject = _said(each, whole)
        if subject is None and not reference_of(each):
            if key_of(each) not in own:
                own[key_of(each)] = _own(blobs, each)
            subject = own[key_of(each)]
        if subject is None:
            images.append(each)
        else:
            hanging.append(Attachment(unnamed(each), subject))
    if len(hanging) > MAX_ATTACHMENTS:
        raise InvalidImage(f"an archive with more than {MAX_ATTACHMENTS} signatures")
    targets = {key_of(target): target for target in images}
    below = (descend(blobs, target, tolerant=True) for target in targets.values())
    pending = deque(dict.fromkeys(each.digest for found in below for each in found))
    by_subject: dict[str, list[Attachment]] = {}
    for one in hanging:
        by_subject.setdefault(one.subject, []).append(one)
    found = []
    while pending:
        new = by_subject.pop(pending.popleft(), [])
        found += new
        pending += (one.target.digest for one in new)
    return images, found


def _mark(entry: Descriptor) -> str:
    return (entry.annotations or {}).get(_KIND, "")


def _said(entry: Descriptor, whole: Sequence[str]) -> Digest | None:
    """What an entry says by its annotations that it hangs on. Raises InvalidImage."""
    annotations = entry.annotations or {}
    for key in (CONTAINERD_SUBJECT, SUBJECT):
        if key in annotations:
            return checked(annotations[key])
    if _mark(entry) in _PARTS and len(whole) == 1:
        return checked(whole[0])
    return subject_of_tag(annotations.get(REF_NAME, "").rpartition("/")[2].rpartition(":")[2])


def _own(blobs: BlobStore, entry: Descriptor) -> Digest | None:
    """The `subject` of a manifest without a name; with one it is an image of its own right."""
    if entry.media_type not in MediaType.MANIFESTS:
        return None
    with suppress(ImageNotFound):
        subject = read_manifest(blobs, entry).subject
        return checked(subject.digest) if subject else None
    return None
