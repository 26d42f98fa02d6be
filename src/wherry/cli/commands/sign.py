"""`sign`: say by a signature that an image is what it should be."""

from __future__ import annotations

import binascii

from wherry.cli.annotations import parse_annotations
from wherry.cli.command import UNLIMITED, Command
from wherry.cli.errors import CommandError, UsageError
from wherry.cli.flags import many, switch, text
from wherry.cli.key_file import read_key
from wherry.cli.password import password
from wherry.cli.signed_image import SignedImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session
    from wherry.trust import PrivateKey


def _sign(session: Session, arguments: Arguments) -> int:
    path = arguments.text("key")
    if not path:
        raise UsageError("which key? --key FILE; 'wherry generate-key-pair' makes one")
    annotations = parse_annotations(arguments.many("annotations"))
    key = _read(path)

    def sign(name: str) -> None:
        image = SignedImage(session, name)
        identity = arguments.text("identity") or image.repository
        if not identity:
            raise CommandError(f"{name} has no name to be signed under: tag it, or give --identity")
        digests = image.digests if arguments.switch("recursive") else [image.digest]
        for digest in digests:
            _post(session, image, key, digest, identity, annotations)
            platform = image.manifests.get(digest, "all platforms")
            session.write_line(f"{name}: signed {digest} ({platform}) as {identity}")

    code = session.for_each(arguments.words, sign)
    if not code:
        session.complain("'wherry push' sends the signature along with the image")
    return code


def _read(path: str) -> PrivateKey:
    from wherry.trust import read_private_key

    return read_key(path, lambda data: read_private_key(data, path, lambda: password(path)))


def _post(
    session: Session,
    image: SignedImage,
    key: PrivateKey,
    digest: str,
    identity: str,
    annotations: dict[str, str],
) -> None:
    from wherry.trust import sign_image

    payload, signature = sign_image(key, digest, identity, annotations)
    document = {
        "Payload": binascii.b2a_base64(payload, newline=False).decode(),
        "Signature": binascii.b2a_base64(signature, newline=False).decode(),
    }
    session.client.post(image.path, None, document)


SIGN = Command(
    _sign,
    "Sign images with a private key",
    "IMAGE [IMAGE...]",
    (
        text("key", "", "File with the private key: cosign's, or a PEM file", metavar="FILE",
             complete="file"),
        many("annotations", "a", "Something else to sign", metavar="KEY=VALUE"),
        switch("recursive", "r", "Sign each platform of the image, too"),
        text("identity", "", "Sign it under this name instead of its repository",
             metavar="NAME[:TAG]"),
    ),
    least=1,
    most=UNLIMITED,
    complete=("image",),
    detail=(
        "The signature is cosign's: who has the public key can verify it, with wherry, cosign,\n"
        "podman or skopeo. It stays with the image here, and goes along when that is pushed. A\n"
        "further signature is added to those there are. The private key stays here; its\n"
        "password is asked for, or taken from COSIGN_PASSWORD. podman and skopeo look for a\n"
        "signature of the platform that they pull: sign with --recursive for them."
    ),
    examples=(
        "wherry sign --key cosign.key registry.example.org/team/web:2",
        "wherry sign --key cosign.key -a build=1742 -r web:2",
    ),
)  # fmt: skip
