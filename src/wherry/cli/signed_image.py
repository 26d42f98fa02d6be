"""An image and its signatures as the engine shows them, typed for signing and verifying."""

from __future__ import annotations

import binascii

from wherry.cli.errors import CommandError
from wherry.client import DaemonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.cli.session import Session
    from wherry.trust import Form, Signature


class SignedImage:
    """What the engine says of an image's signatures, as far as it is in the store.

    With `remote`, its registry is asked first.
    """

    def __init__(
        self, session: Session, name: str, *, remote: bool = False, headers: tuple[str, ...] = ()
    ) -> None:
        query = {"remote": remote}
        path = f"/images/{name}/signatures"
        try:
            found: Any = session.client.request("GET", path, query, headers=headers).json()
        except DaemonError as error:
            if error.is_unknown_call:
                raise CommandError(
                    "only wherry's own engine keeps signatures: for another's images use cosign"
                ) from None
            raise
        self.path = path
        self.repository = str(found["Repository"])
        """In full and without a tag; empty for an image without a name."""
        self.digest = str(found["Digest"])
        """Of the index, if it has several platforms."""
        self.manifests = {str(m["Digest"]): str(m["Platform"]) for m in found["Manifests"]}
        """The platforms of its images, by digest."""
        self._signatures: list[Any] = found["Signatures"]

    @property
    def digests(self) -> list[str]:
        """Everything that can be signed: the index, then each image of it."""
        return list(dict.fromkeys((self.digest, *self.manifests)))

    def signatures(self, digest: str) -> list[Signature]:
        """Those that hang on one of the digests."""
        return [signature for subject, signature in self._all() if subject == digest]

    def _all(self) -> Iterator[tuple[str, Signature]]:
        from wherry.trust import Signature

        for each in self._signatures:
            form: Form = "bundle" if each["Form"] == "bundle" else "simple"
            document = binascii.a2b_base64(each["Document"])
            yield str(each["Subject"]), Signature(form, document, str(each.get("Encoded") or ""))
