"""Deciding: does an image, with the signatures attached to it, meet what is required of it?"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wherry.oci import Reference
from wherry.trust.errors import InvalidSignature, Untrusted
from wherry.trust.identity import SignedIdentity
from wherry.trust.keys import PublicKey
from wherry.trust.payload import Claims
from wherry.trust.policy import Accept, Reject, Requirement, Signed
from wherry.trust.signature import MAX_SIGNATURES, Signature


@dataclass(frozen=True)
class Subject:
    """What is to be used: an image by one of its names, or without.

    `digests` are those a signature may be about: the manifest's, and that of the index it was
    reached through, which names the manifest by its digest.
    """

    shown: str
    digests: frozenset[str]
    reference: Reference | None = None


@dataclass(frozen=True)
class Verified:
    """What met a requirement: whose signature, over which digest, for which name."""

    key: PublicKey
    claims: Claims


def judge(
    subject: Subject, requirements: Sequence[Requirement], signatures: Sequence[Signature]
) -> list[Verified]:
    """What met the requirements, one for each that asks for a signature. Raises Untrusted."""
    found = []
    for requirement in requirements:
        if isinstance(requirement, Accept):
            continue
        if isinstance(requirement, Reject):
            raise Untrusted(f"{subject.shown} may not be used: {requirement.place} rejects it")
        found.append(_signed(subject, requirement, signatures))
    return found


@dataclass(frozen=True)
class Search:
    """What came of looking for a signature: those that will do, and why others will not."""

    verified: list[Verified]
    faults: list[str]

    @property
    def summary(self) -> str:
        """What was found instead, for a message."""
        if not self.faults:
            return "it has no signature"
        if len(self.faults) == 1:
            return f"its signature is {self.faults[0]}"
        told = [
            f"{times} {'is' if times == 1 else 'are'} {fault}"
            for fault, times in Counter(self.faults).most_common(3)
        ]
        return f"of its {len(self.faults)} signatures {', '.join(told)}"


def search(
    subject: Subject,
    keys: Iterable[PublicKey],
    signatures: Sequence[Signature],
    *,
    identity: SignedIdentity | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Search:
    """Look through the signatures; `identity` says which names in them will do, None any."""
    keys = tuple(keys)
    result = Search([], [])
    for signature in signatures[:MAX_SIGNATURES]:
        try:
            said = _said(signature, keys)
        except InvalidSignature as error:
            result.faults.append(f"malformed ({error})")
            continue
        if said is None:
            result.faults.append("by another key")
            continue
        key, claims = said
        fault = ""
        for claim in claims:
            fault = _fault(subject, claim, identity, annotations or {})
            if not fault:
                result.verified.append(Verified(key, claim))
                break
        else:
            result.faults.append(fault or "over no image")
    return result


def _signed(subject: Subject, requirement: Signed, signatures: Sequence[Signature]) -> Verified:
    found = search(subject, requirement.keys, signatures, identity=requirement.identity)
    if found.verified:
        return found.verified[0]
    keys = " or ".join(map(str, requirement.keys[:3])) + ", …" * (len(requirement.keys) > 3)
    raise Untrusted(
        f"{subject.shown} may not be used: {requirement.place} wants it signed by {keys}, "
        f"but {found.summary}"
    )


def _said(signature: Signature, keys: Sequence[PublicKey]) -> tuple[PublicKey, list[Claims]] | None:
    for key in keys:
        claims = signature.claims_if_by(key)
        if claims is not None:
            return key, claims
    return None


def _fault(
    subject: Subject,
    claim: Claims,
    identity: SignedIdentity | None,
    annotations: Mapping[str, str],
) -> str:
    """Why a claim is not one about the subject; empty when it is."""
    if claim.digest not in subject.digests:
        return f"over another image, {claim.digest[:19]}"
    if identity and not identity.accepts(subject.reference, claim.identity):
        wanted = identity.wants(subject.reference)
        if not claim.identity:
            return f'without a name ({wanted} is wanted; "matchDigest" would do without)'
        return f"for the name {claim.identity[:200]} ({wanted} is wanted)"
    for key, value in annotations.items():
        if claim.annotations.get(key) != value:
            return f"without the annotation {key}={value}"
    return ""
