"""The gate every image passes before it is used."""

import base64
import binascii
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from wherry.engine.errors import Forbidden, InvalidRequest
from wherry.engine.trust.admission import Admission
from wherry.engine.trust.policies import Policies, policy_files
from wherry.engine.trust.proof import Proof
from wherry.images import Image, ImageStore
from wherry.images.lookup import whole_id
from wherry.oci import Descriptor, Digest, InvalidReference, Reference, parse_reference

if TYPE_CHECKING:
    from wherry.engine.trust.remote import Fetched
    from wherry.registry import Repository
    from wherry.trust import Policy, PublicKey, Requirement, Signature

VERIFY_KEY = "--verify-key"


class Demand(msgspec.Struct, frozen=True):
    """What is asked of an image under one of its names, None where it has none."""

    reference: Reference | None
    requirements: "tuple[Requirement, ...]"


class Gate:
    """Decides by the policy in force, and by the key that somebody gave with a request."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._policies = Policies(policy_files())

    @property
    def is_open(self) -> bool:
        """Whether there is no policy, so that without a key nothing needs to be asked."""
        return self._policies.current() is None

    def admit(self, image: Image, name: str, key: str = "") -> Admission:
        """Let an image of the store be used that is called by `name`.

        `key` is base64 of a public key's PEM that must have signed it, too. Reads files: for a
        thread, unless all is open and there is no key. Raises Forbidden, InvalidRequest.
        """
        names = names_of(image, name)
        policy = self._policies.current()
        digests = _digests(image.target, image)
        return Admission(
            image=name,
            names=[str(each or "") for each in names],
            digests=[*digests],
            policy=policy.fingerprint if policy else "",
            proofs=self._proofs(name, digests, _demands(policy, names, key)),
        )

    def stands(self, admission: Admission) -> bool:
        """Whether nobody needs to be asked again: there is no other policy than at that time.

        Quick. Without certainty it is not so.
        """
        return self._policies.stands(admission.policy)

    def readmit(self, admission: Admission) -> Admission:
        """Ask the policy that is in force now. For a thread. Raises Forbidden."""
        policy = self._policies.current()
        if policy is None or policy.fingerprint == admission.policy:
            return admission
        names = [parse_reference(each) if each else None for each in admission.names]
        digests = [Digest(each) for each in admission.digests]
        proofs = [each for each in admission.proofs if each.demanded_by == VERIFY_KEY]
        proofs[:0] = self._proofs(admission.image, digests, _demands(policy, names))
        return replace(admission, policy=policy.fingerprint, proofs=proofs)

    def _proofs(
        self, name: str, digests: Sequence[Digest], demands: Sequence[Demand]
    ) -> list[Proof]:
        if not _for_signatures(demands):
            return self.judge(name, digests, demands, [])
        from wherry.engine.trust.attached import signatures_in

        found = signatures_in(self._store, digests)
        return self.judge(name, digests, demands, [each.signature for each in found])

    def approval(
        self, repository: "Repository", reference: Reference, key: str = ""
    ) -> "Approval | None":
        """What decides about an image that is being pulled; None where all may be.

        Raises Forbidden, InvalidRequest.
        """
        demands = _demands(self._policies.current(), [reference], key)
        if not demands:
            return None
        return Approval(self, self._store, repository, reference, demands)

    def judge(
        self,
        name: str,
        digests: Sequence[Digest],
        demands: Sequence[Demand],
        signatures: "Sequence[Signature]",
    ) -> list[Proof]:
        """What meets the demands on an image; `digests` are its own and that of its index.

        Raises Forbidden.
        """
        if not demands:
            return []
        from wherry.trust import Signed, Subject, Untrusted, judge

        proofs = []
        for demand in demands:
            subject = Subject(f"image {name}", frozenset(digests), demand.reference)
            asking = [each for each in demand.requirements if isinstance(each, Signed)]
            try:
                verified = judge(subject, demand.requirements, signatures)
            except Untrusted as error:
                raise Forbidden(f"{error}{_hint(name, bool(asking), bool(signatures))}") from None
            proofs += [
                Proof(
                    key=each.key.fingerprint,
                    digest=each.claims.digest,
                    identity=each.claims.identity,
                    demanded_by=str(requirement.place),
                )
                for requirement, each in zip(asking, verified, strict=True)
            ]
        return proofs


class Approval:
    """Decides about an image before its layers are fetched, by the signatures in the registry."""

    def __init__(
        self,
        gate: Gate,
        store: ImageStore,
        repository: "Repository",
        reference: Reference,
        demands: Sequence[Demand],
    ) -> None:
        self._gate = gate
        self._store = store
        self._repository = repository
        self._reference = reference
        self._demands = demands
        self._fetched: list[Fetched] = []

    def __call__(self, target: Descriptor, image: Image) -> None:
        """Raises Forbidden when the image may not be used, RegistryError."""
        digests = _digests(target, image)
        if not _for_signatures(self._demands):
            self._judge(digests, [])
            return
        from wherry.engine.trust.attached import signatures_in
        from wherry.engine.trust.remote import fetch_referrers, fetch_tagged

        signatures = [each.signature for each in signatures_in(self._store, digests)]
        # Many registries have the one form only; the other is asked for if it takes that.
        for fetch in (fetch_tagged, fetch_referrers):
            fetched = fetch(self._repository, digests)
            self._fetched += fetched
            signatures += [one for each in fetched for one in each.signatures]
            with suppress(Forbidden):
                self._judge(digests, signatures)
                return
        self._judge(digests, signatures)

    def _judge(self, digests: Sequence[Digest], signatures: "Sequence[Signature]") -> None:
        self._gate.judge(self._reference.familiar, digests, self._demands, signatures)

    def keep(self) -> None:
        """Hang the signatures on the image, which is in the store now."""
        with self._store.hold():
            for each in self._fetched:
                each.keep(self._store, self._reference)


def _demands(
    policy: "Policy | None", references: Sequence[Reference | None], key: str = ""
) -> list[Demand]:
    demands = []
    if policy is not None:
        demands = [Demand(each, policy.requirements(each)) for each in references]
    if key:
        demands.append(Demand(None, (_by_key(key),)))
    return demands


def _for_signatures(demands: Sequence[Demand]) -> bool:
    if not demands:
        return False
    from wherry.trust import demands_signatures

    return any(demands_signatures(demand.requirements) for demand in demands)


def _digests(target: Descriptor, image: Image) -> list[Digest]:
    return [*dict.fromkeys((Digest(target.digest), image.digest))]


def names_of(image: Image, name: str) -> list[Reference | None]:
    """The names whose requirements an image called by `name` must meet.

    The name itself, if the image has it. Called by its id, or by a digest in a repository it has
    no name in, an image must meet what is asked of each of its names, or else of images without.
    """
    names = [parse_reference(each) for each in image.names]
    if whole_id(name):
        return [*names] or [None]
    try:
        wanted = parse_reference(name).with_default_tag()
    except InvalidReference:
        return [*names] or [None]
    if wanted.digest and any(each.name == wanted.name for each in names):
        return [Reference(wanted.domain, wanted.path, None, wanted.digest)]
    if not wanted.digest and wanted in names:
        return [wanted]
    return [*names] or [None]


def _by_key(key: str) -> "Requirement":
    from wherry.trust import Place, Signed

    return Signed(Place(VERIFY_KEY), (_read_key(key),), None)


def _read_key(key: str) -> "PublicKey":
    from wherry.trust import KeyUnusable, read_public_key

    try:
        return read_public_key(base64.b64decode(key, validate=True), "the given key")
    except (binascii.Error, ValueError):
        raise InvalidRequest("the key to verify with is not base64") from None
    except KeyUnusable as error:
        raise InvalidRequest(str(error)) from None


def _hint(name: str, signature_wanted: bool, any_found: bool) -> str:
    if not signature_wanted or any_found:
        return ""
    return f": sign it by 'wherry sign --key FILE {name}', or pull it from where it was signed"
