"""Which name a signature must carry for an image (`signedIdentity` of containers-policy.json(5)).

A signature proves who signed; the name in it proves for what. Without this check a registry could
pass off one signed image as another. Sigstore bundles carry no name: `matchDigest`, of wherry's
own making, accepts them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from wherry.oci import InvalidReference, Reference, parse_reference


@dataclass(frozen=True)
class SignedIdentity:
    """A rule: given the name an image is used by, which names in a signature will do.

    `first` and `second` are what the rule's type takes, as the policy has them.
    """

    type: str
    first: str = ""
    second: str = ""

    def accepts(self, image: Reference | None, signed: str) -> bool:
        """Whether a signature for the name `signed` ("" for none) is one for `image`, which may
        have no name either.
        """
        if self.type == "matchDigest":
            return True
        try:
            found = parse_reference(signed)
        except InvalidReference:
            return False
        return _RULES[self.type](self, image, found)

    def wants(self, image: Reference | None) -> str:
        """The name that would be accepted, for messages."""
        if self.type in ("exactReference", "exactRepository"):
            return self.first
        if self.type == "matchDigest":
            return "no name"
        if image is None:
            return "a name, which this image has not"
        wanted = self._remapped(image) if self.type == "remapIdentity" else image
        if wanted is None:
            return "a name that the remapping does not give"
        if self.type == "matchRepository":
            return wanted.name
        return f"{wanted.name}, any tag" if wanted.digest else str(wanted)

    def _remapped(self, image: Reference) -> Reference | None:
        """The image's name with its prefix exchanged; None when that is no name."""
        name = image.name
        if name != self.first and not name.startswith(f"{self.first}/"):
            return image
        suffix = str(image)[len(self.first) :]
        try:
            return parse_reference(self.second + suffix)
        except InvalidReference:
            return None


def _exact(wanted: Reference | None, signed: Reference) -> bool:
    whole = wanted is not None and bool(wanted.tag or wanted.digest)
    return whole and signed == wanted


def _repository(wanted: Reference | None, signed: Reference) -> bool:
    return wanted is not None and signed.name == wanted.name


def _exact_or_digest(wanted: Reference | None, signed: Reference) -> bool:
    """A name with a tag exactly; one by digest in any tag, since the digest is checked anyway."""
    if wanted is None or not (signed.tag or signed.digest):
        return False
    return signed.name == wanted.name if wanted.digest else _exact(wanted, signed)


_RULES: dict[str, Callable[[SignedIdentity, Reference | None, Reference], bool]] = {
    "matchExact": lambda rule, image, signed: _exact(image, signed),
    "matchRepoDigestOrExact": lambda rule, image, signed: _exact_or_digest(image, signed),
    "matchRepository": lambda rule, image, signed: _repository(image, signed),
    "exactReference": lambda rule, image, signed: _exact(parse_reference(rule.first), signed),
    "exactRepository": lambda rule, image, signed: _repository(parse_reference(rule.first), signed),
    "remapIdentity": lambda rule, image, signed: _exact_or_digest(
        rule._remapped(image) if image else None, signed
    ),
}

DEFAULT_IDENTITY = SignedIdentity("matchRepoDigestOrExact")
"""Where a policy says nothing."""
TYPES: dict[str, tuple[str, ...]] = {
    "matchDigest": (),
    "matchExact": (),
    "matchRepoDigestOrExact": (),
    "matchRepository": (),
    "exactReference": ("dockerReference",),
    "exactRepository": ("dockerRepository",),
    "remapIdentity": ("prefix", "signedPrefix"),
}
"""The types a policy may name, each with its further fields, all of which it must have."""
