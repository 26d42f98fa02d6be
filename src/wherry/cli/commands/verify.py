"""`verify`: whose signatures an image has."""

from __future__ import annotations

from wherry.cli.annotations import parse_annotations
from wherry.cli.command import UNLIMITED, Command
from wherry.cli.errors import CommandError, UsageError
from wherry.cli.flags import many, switch, text
from wherry.cli.key_file import read_key
from wherry.cli.printable import printable
from wherry.cli.signed_image import SignedImage
from wherry.client import DaemonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session
    from wherry.trust import PublicKey, Search, Verified


def _verify(session: Session, arguments: Arguments) -> int:
    annotations = parse_annotations(arguments.many("annotations"))
    output = arguments.text("output")
    if output not in ("text", "json"):
        raise UsageError(f"'{output}' is no form of output; text or json")
    keys = [_read(path) for path in arguments.many("key")]
    if not keys and annotations:
        raise UsageError("annotations are verified with a key: --key FILE")
    told: list[Any] = []

    def verify(name: str) -> None:
        if not keys:
            _show_unverified(session, name, _image(session, arguments, name, remote=False))
            return
        found = _search(session, arguments, name, keys, annotations)
        for each in found:
            if output == "text":
                _tell(session, name, each)
        told.extend(_document(each) for each in found)

    code = session.for_each(arguments.words, verify)
    if output == "json" and keys:
        from wherry.client import json

        session.write_line(json.encode(told))
    return code


def _search(
    session: Session,
    arguments: Arguments,
    name: str,
    keys: list[PublicKey],
    annotations: dict[str, str],
) -> list[Verified]:
    """The signatures that do; first of those here, then of those in the registry."""
    remotes = (False,) if arguments.switch("local") else (False, True)
    found: Search | None = None
    trouble = ""
    for remote in remotes:
        try:
            image = _image(session, arguments, name, remote=remote)
        except DaemonError as error:
            if not remote and error.status == 404 and len(remotes) > 1:
                continue  # It may be in its registry.
            if found is None:
                raise
            trouble = f"; its registry was asked in vain: {error}"
            break
        found = _among(image, name, keys, annotations)
        if found.verified:
            return found.verified
    assert found
    which = " or ".join(str(key) for key in keys)
    raise CommandError(f"{name} is not signed by {which}: {found.summary}{trouble}")


def _among(
    image: SignedImage, name: str, keys: list[PublicKey], annotations: dict[str, str]
) -> Search:
    from wherry.trust import Subject, search

    signatures = [one for digest in image.digests for one in image.signatures(digest)]
    subject = Subject(name, frozenset((image.digest, *_only(image))))
    return search(subject, keys, signatures, annotations=annotations)


def _only(image: SignedImage) -> list[str]:
    """The platform's own digest where there is but one: that is the whole image, then."""
    return list(image.manifests) if len(image.manifests) == 1 else []


def _image(session: Session, arguments: Arguments, name: str, *, remote: bool) -> SignedImage:
    headers: tuple[str, ...] = ()
    if remote:
        from wherry.cli.logins import headers_to_read
        from wherry.client.image_name import ImageName

        headers = headers_to_read(session, ImageName(name).domain)
    return SignedImage(session, name, remote=remote, headers=headers)


def _read(path: str) -> PublicKey:
    from wherry.trust import read_public_key

    return read_key(path, lambda data: read_public_key(data, path))


def _tell(session: Session, name: str, verified: Verified) -> None:
    claims = verified.claims
    session.write_line(f"{name}: signed by {verified.key}")
    session.write_line(f"  digest:   {claims.digest}")
    if claims.identity:
        session.write_line(f"  signed as {printable(claims.identity)}")
    for key, value in sorted(claims.annotations.items()):
        session.write_line(f"  {printable(key)}={printable(value)}")


def _document(verified: Verified) -> Any:
    claims = verified.claims
    return {
        "critical": {
            "identity": {"docker-reference": claims.identity},
            "image": {"docker-manifest-digest": claims.digest},
            "type": "cosign container image signature",
        },
        "optional": claims.annotations or None,
        "key": verified.key.fingerprint,
    }


def _show_unverified(session: Session, name: str, image: SignedImage) -> None:
    from wherry.trust import InvalidSignature

    count = 0
    for digest in image.digests:
        for signature in image.signatures(digest):
            count += 1
            try:
                for claims in signature.unproven_claims():
                    session.write_line(
                        f"{name}: NOT VERIFIED, says of itself: {printable(claims.digest)} as "
                        f"{printable(claims.identity) or 'no name'} ({signature.form})"
                    )
            except InvalidSignature as error:
                session.write_line(f"{name}: NOT VERIFIED, and malformed: {printable(str(error))}")
    if not count:
        raise CommandError(f"{name} has no signature here")
    session.complain(f"{name}: whose signatures these are was not verified; give --key FILE")


VERIFY = Command(
    _verify,
    "Verify that images were signed with a key",
    "IMAGE [IMAGE...]",
    (
        many("key", "", "File with the public key, of one who may have signed", metavar="FILE",
             complete="file"),
        many("annotations", "a", "Only signatures that say this, too", metavar="KEY=VALUE"),
        switch("local", "", "Do not ask the image's registry for its signatures"),
        text("output", "o", "How to tell: text or json", default="text",
             complete=("text", "json")),
    ),
    least=1,
    most=UNLIMITED,
    complete=("image",),
    detail=(
        "Succeeds if one of the keys has signed each image, under whatever name.\n"
        "Signatures that are not here are looked for in the image's registry. Both of cosign's\n"
        "forms are read. Without a key the signatures are listed, and nothing is verified."
    ),
    examples=(
        "wherry verify --key cosign.pub registry.example.org/team/web:2",
        "wherry verify --key cosign.pub -a build=1742 -o json web:2",
    ),
)  # fmt: skip
