"""Who vouches for a bundle: release keys sign, officers approve, the root and the box say how many (6.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sealift import canonical
from sealift.errors import BadSignature, NotApproved, RevokedKey, TrustError, UnknownKey
from sealift.trust.keys import (
    APPROVAL_CONTEXT,
    RELEASE_CONTEXT,
    TRANSPORT_CONTEXT,
    Signature,
    Tally,
    tally,
)
from sealift.trust.root import Root

_NEXT: Final[dict[type[TrustError], str]] = {
    BadSignature: "carry the bundle again; if it happens again, ask whoever signed it",
    RevokedKey: "have the release signed by a key in use: sealift sign BUNDLE --keys KEYS",
    UnknownKey: "`sealift trust show` lists whose signatures count here",
    NotApproved: "take it to an officer: sealift sign BUNDLE --keys KEYS --as officer",
}
"""In the order of their weight: the first kind that is found names the refusal."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the box asks beyond the root: at least so many officers' approvals."""

    officers: int = 0


@dataclass(frozen=True, slots=True)
class Endorsement:
    """Every signature that a bundle carries: over release.json twice (keys, officers) and transport.json."""

    signatures: tuple[Signature, ...]
    approvals: tuple[Signature, ...]
    transport_signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Vouched:
    """The keys that count: who signed release.json, and who approved it."""

    release_keys: tuple[str, ...]
    officers: tuple[str, ...]


def vouch(
    root: Root, policy: Policy, product: str, release: bytes, transport: bytes, endorsement: Endorsement
) -> Vouched:
    """Decide whether `root` and the box's policy let this bundle in (clause 6.2).

    Args:
        product: the one that release.json names.
        release, transport: the documents' bytes, without context.
    Raises:
        BadSignature: a known key's signature does not verify.
        RevokedKey: too few keys signed, and a revoked one did.
        UnknownKey: too few release keys that may sign `product` signed release.json or transport.json.
        NotApproved: fewer officers approved than the root or the box asks for.
    """
    claims = _claims(root, policy, product, release, transport, endorsement)
    found = [finding for claim in claims for finding in claim.findings()]
    if found:
        kinds = list(_NEXT)
        found.sort(key=lambda finding: kinds.index(finding[0]))
        kind, message = found[0]
        raise kind(message, problems=[text for _, text in found[1:]], next_step=_NEXT[kind])
    signed, approved, _ = claims
    return Vouched(signed.counted, approved.counted)


def missing(
    root: Root, policy: Policy, product: str, release: bytes, transport: bytes, endorsement: Endorsement
) -> tuple[str, ...]:
    """What `vouch` would refuse, one sentence each; empty exactly where it would accept."""
    claims = _claims(root, policy, product, release, transport, endorsement)
    return tuple(text for claim in claims for _, text in claim.findings())


@dataclass(frozen=True, slots=True)
class _Claim:
    """One list of signatures against the keys that may make it."""

    text: str
    what: str
    done: str
    root: Root
    signatures: tuple[Signature, ...]
    checked: Tally
    permitted: tuple[str, ...]
    needed: int
    short_of: type[TrustError]
    why: str = ""

    @property
    def counted(self) -> tuple[str, ...]:
        """Distinct permitted keys with a signature that verifies, sorted."""
        return tuple(key_id for key_id in self.checked.good if key_id in self.permitted)

    def findings(self) -> list[tuple[type[TrustError], str]]:
        """Why this claim does not hold; empty: it does."""
        found: list[tuple[type[TrustError], str]] = [
            (BadSignature, f"{self.text}: the signature of {canonical.short(key_id)} does not verify")
            for key_id in self.checked.wrong
        ]
        if len(self.counted) < self.needed:
            revoked = [item.key_id for item in self.signatures if item.key_id in self.root.revoked]
            found += [
                (
                    RevokedKey,
                    f"{self.text}: {canonical.short(key_id)} is revoked, its signature counts no more",
                )
                for key_id in revoked
            ]
            found.append((self.short_of, self._too_few()))
        return found

    def _too_few(self) -> str:
        names = ", ".join(canonical.short(item.key_id) for item in self.signatures)
        said = (
            f"{self.done} by {names}; {len(self.counted)} of them may {self.what} under the trusted root,"
            if names
            else f"not {self.done} by anybody;"
        )
        rest = ", ".join(canonical.short(key_id) for key_id in self.permitted if key_id not in self.counted)
        lacking = f"{self.needed - len(self.counted)} of {rest}" if rest else "the root names nobody else"
        return f"{self.text}: {said} {self.needed} must{self.why}; missing: {lacking}"


def _claims(
    root: Root, policy: Policy, product: str, release: bytes, transport: bytes, endorsement: Endorsement
) -> tuple[_Claim, _Claim, _Claim]:
    may_sign = root.may_sign(product)

    def by_release_keys(text: str, signatures: tuple[Signature, ...], message: bytes) -> _Claim:
        checked = tally(root.release_keys, root.keys, signatures, message)
        return _Claim(
            text=text,
            what=f"sign {product}",
            done="signed",
            root=root,
            signatures=signatures,
            checked=checked,
            permitted=may_sign,
            needed=root.release_threshold,
            short_of=UnknownKey,
        )

    approvals = endorsement.approvals
    return (
        by_release_keys(product, endorsement.signatures, RELEASE_CONTEXT + release),
        _Claim(
            text=product,
            what=f"approve {product}",
            done="approved",
            root=root,
            signatures=approvals,
            checked=tally(root.officers, root.keys, approvals, APPROVAL_CONTEXT + release),
            permitted=root.officers,
            needed=max(root.officer_threshold, policy.officers),
            short_of=NotApproved,
            why=" (this box's own policy)" if policy.officers > root.officer_threshold else "",
        ),
        by_release_keys(
            f"{product}, transport.json", endorsement.transport_signatures, TRANSPORT_CONTEXT + transport
        ),
    )
