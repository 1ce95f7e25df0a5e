"""Who signed, who approved, whether that is enough under a root, and what is still missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from sealift import canonical
from sealift.bundle.read import UnverifiedBundle
from sealift.errors import BadSignature, TrustError
from sealift.trust.chain import follow
from sealift.trust.keys import APPROVAL_CONTEXT, RELEASE_CONTEXT, Signature
from sealift.trust.root import Root
from sealift.trust.vouch import Endorsement, Policy, missing, vouch

NO_ROOT: Final = (
    "no trust root is named or pinned here: get root.json and its fingerprint on paper, "
    "then --trust root.json"
)


@dataclass(frozen=True, slots=True)
class Signer:
    """One key that signed or approved; `objection` says why it does not count, empty where it does."""

    key_id: str
    objection: str


@dataclass(frozen=True, slots=True)
class Standing:
    """`verified` is true only where `missing` is empty. Without a root every threshold is None."""

    signers: tuple[Signer, ...]
    approvers: tuple[Signer, ...]
    missing: tuple[str, ...]
    fingerprint: str | None = None
    root_version: int | None = None
    release_threshold: int | None = None
    officer_threshold: int | None = None

    @property
    def verified(self) -> bool:
        """Claims that a root vouches for release.json and for what travels."""
        return self.fingerprint is not None and not self.missing


def standing_of(bundle: UnverifiedBundle, trusted: Root | None, policy: Policy) -> Standing:
    """How a bundle stands under the root that a person named or the box pinned.

    Raises: BadSignature: a signature by a known key, or a step between roots, does not verify. Anything
        else that is missing is said in the result: an officer looks before the last signature is there.
    """
    if trusted is None:
        return Standing(_unjudged(bundle.signatures), _unjudged(bundle.approvals), (NO_ROOT,))
    try:
        root = follow(trusted, bundle.roots)
    except BadSignature:
        raise
    except TrustError as error:
        return replace(_under(bundle, trusted, policy), missing=(error.message, *error.problems))
    return _under(bundle, root, policy)


def _under(bundle: UnverifiedBundle, root: Root, policy: Policy) -> Standing:
    product, release = bundle.release.product, bundle.release.encode()
    endorsement = Endorsement(bundle.signatures, bundle.approvals, bundle.transport_signatures)
    try:
        vouch(root, policy, product, release, bundle.transport, endorsement)
        lacking: tuple[str, ...] = ()
    except BadSignature:
        raise
    except TrustError:
        lacking = missing(root, policy, product, release, bundle.transport, endorsement)
    releasing = _Role(root, "release key", tuple(root.release_keys), root.may_sign(product))
    officers = _Role(root, "officer", root.officers, root.officers)
    return Standing(
        signers=releasing.judge(bundle.signatures, RELEASE_CONTEXT + release),
        approvers=officers.judge(bundle.approvals, APPROVAL_CONTEXT + release),
        missing=lacking,
        fingerprint=root.fingerprint,
        root_version=root.version,
        release_threshold=root.release_threshold,
        officer_threshold=max(root.officer_threshold, policy.officers),
    )


def shorten(signers: Iterable[Signer]) -> str:
    """`sha256:aaaa-bbbb, sha256:cccc-dddd (revoked)`, or `nobody`."""
    shown = [
        canonical.short(item.key_id) + (f" ({item.objection})" if item.objection else "") for item in signers
    ]
    return ", ".join(shown) or "nobody"


@dataclass(frozen=True, slots=True)
class _Role:
    root: Root
    name: str
    known: tuple[str, ...]
    permitted: tuple[str, ...]

    def judge(self, signatures: Iterable[Signature], message: bytes) -> tuple[Signer, ...]:
        return tuple(Signer(item.key_id, self._objection(item, message)) for item in signatures)

    def _objection(self, item: Signature, message: bytes) -> str:
        if item.key_id in self.root.revoked:
            return "revoked"
        if item.key_id not in self.known:
            return f"no {self.name} of this root"
        if item.key_id not in self.permitted:
            return "may not sign this product"
        holds = self.root.keys[item.key_id].verifies(item.signature, message)
        return "" if holds else "does not verify"


def _unjudged(signatures: Iterable[Signature]) -> tuple[Signer, ...]:
    return tuple(Signer(item.key_id, "not checked") for item in signatures)
