"""`generate-key-pair`: a key to sign images with, in the files that cosign reads."""

from __future__ import annotations

import os

from wherry.cli.command import Command
from wherry.cli.errors import CommandError, UsageError
from wherry.cli.flags import text
from wherry.cli.password import new_password

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_KINDS = ("ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-4096", "ed25519")


def _generate(session: Session, arguments: Arguments) -> int:
    from wherry.trust import KINDS, generate

    kind = next((known for known in KINDS if known == arguments.text("type")), None)
    if kind is None:
        raise UsageError(f"there is no type '{arguments.text('type')}'; {', '.join(_KINDS)}")
    prefix = arguments.text("output-key-prefix")
    private, public = f"{prefix}.key", f"{prefix}.pub"
    for path in (private, public):
        if os.path.lexists(path):
            raise CommandError(f"{path} exists: move it away, or give another --output-key-prefix")
    key = generate(kind, public)
    _write(private, key.sealed(new_password(private)), 0o600)
    _write(public, key.public.pem, 0o644)
    session.write_line(f"Private key: {private} (keep it and its password)")
    session.write_line(f"Public key:  {public} (give it to whoever verifies)")
    return 0


def _write(path: str, data: bytes, mode: int) -> None:
    """A new file, whole on the disk: a key must not be lost that something was signed with."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


GENERATE_KEY_PAIR = Command(
    _generate,
    "Make a key to sign images with",
    "",
    (
        text("output-key-prefix", "", "Begin the files' names with this", metavar="PREFIX",
             default="cosign"),
        text("type", "", f"Kind of key: {', '.join(_KINDS[:-1])} or {_KINDS[-1]}",
             metavar="KIND", default=_KINDS[0], complete=_KINDS),
    ),
    detail=(
        "Writes PREFIX.key, sealed by a password, and PREFIX.pub; cosign reads both, and podman\n"
        "and skopeo the latter. The password is asked for, or taken from COSIGN_PASSWORD."
    ),
    examples=(
        "wherry generate-key-pair",
        "wherry sign --key cosign.key registry.example.org/team/web:2",
    ),
)  # fmt: skip
