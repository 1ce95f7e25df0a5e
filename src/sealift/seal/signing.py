"""A bundle's documents + a key -> its signatures: what `sealift sign` decides."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sealift import canonical
from sealift.errors import BadSignature, RevokedKey, UnknownKey, UsageError
from sealift.seal.keyfile import SigningKey
from sealift.seal.keyring import Role
from sealift.trust.chain import follow, other_root
from sealift.trust.keys import (
    APPROVAL_CONTEXT,
    RELEASE_CONTEXT,
    TRANSPORT_CONTEXT,
    PublicKey,
    Signature,
    merge_signatures,
    tally,
)
from sealift.trust.root import Root, SignedRoot
from sealift.trust.vouch import Endorsement

TRANSPORT_PART: Final = "transport"


@dataclass(frozen=True, slots=True)
class Paper:
    """What is signed: the product that release.json names, and the two documents' bytes."""

    product: str
    release: bytes
    transport: bytes

    def messages(self, role: Role) -> dict[str, bytes]:
        """Part -> the exact bytes to sign (clause 5.4): two for a release key, one for an officer."""
        if role is Role.OFFICER:
            return {"approval": APPROVAL_CONTEXT + self.release}
        return {
            "release": RELEASE_CONTEXT + self.release,
            TRANSPORT_PART: TRANSPORT_CONTEXT + self.transport,
        }


def require_may_sign(root: Root, role: Role, product: str, key_id: str) -> None:
    """Refuse a signature that would count for nothing.

    Raises: RevokedKey; UnknownKey: the root does not give this key that role for this product.
    """
    short = canonical.short(key_id)
    if key_id in root.revoked:
        raise RevokedKey(
            f"key {short} is revoked by root version {root.version}; its signature would not count"
        )
    permitted = root.may_sign(product) if role is Role.RELEASE else role.ids(root)
    if key_id not in permitted:
        what = f"sign {product}" if role is Role.RELEASE else f"approve {product}"
        others = ", ".join(canonical.short(one) for one in permitted) or "nobody"
        raise UnknownKey(f"key {short} may not {what} under root version {root.version} ({others} may)")


def choose_key(keys: Mapping[Path, SigningKey], wanted: str | None, done: Sequence[str]) -> SigningKey:
    """The key to sign with: the named one, or the only one that has not signed yet.

    Args:
        wanted: a whole key id. done: ids of the keys whose signature stands there and holds.
    Raises: UsageError: none, or several, and none named.
    """
    by_id = {key.public.key_id: key for key in keys.values()}
    if wanted is not None:
        if wanted not in by_id:
            raise UsageError(f"key {canonical.short(wanted)}: its private half is not here, or opens not")
        return by_id[wanted]
    left = sorted(set(by_id) - set(done)) or sorted(by_id)
    if len(left) != 1:
        raise UsageError(
            f"{len(left)} keys could sign; each stands for a person",
            problems=[canonical.short(key_id) for key_id in left],
            next_step="name one with --key",
        )
    return by_id[left[0]]


def sign_messages(key: SigningKey, messages: Mapping[str, bytes]) -> dict[str, Signature]:
    """One signature a part."""
    return {part: key.sign(message) for part, message in messages.items()}


def foreign_signatures(
    key: PublicKey, messages: Mapping[str, bytes], given: Mapping[str, bytes]
) -> dict[str, Signature]:
    """Signatures that a device made over the same messages: raw bytes, or base64 of them.

    Raises: BadSignature: one that does not verify.
    """
    found = {}
    for part, message in messages.items():
        raw = _raw(given[part])
        if not key.verifies(raw, message):
            raise BadSignature(
                f"the signature of {canonical.short(key.key_id)} over the {part} bytes does not verify",
                next_step="sign the file of --digest-out itself, whole; not its SHA-256, not its hex",
            )
        found[part] = Signature(key.alg, key.key_id, raw)
    return found


def endorsed(present: Endorsement, role: Role, made: Mapping[str, Signature]) -> Endorsement:
    """The signatures there and the new ones."""
    if role is Role.OFFICER:
        return replace(present, approvals=merge_signatures(present.approvals, [made["approval"]]))
    return replace(
        present,
        signatures=merge_signatures(present.signatures, [made["release"]]),
        transport_signatures=merge_signatures(present.transport_signatures, [made[TRANSPORT_PART]]),
    )


def signed_by(root: Root, role: Role, paper: Paper, present: Endorsement) -> tuple[str, ...]:
    """The keys of the role whose every part stands there and holds."""
    lists = (
        {"approval": present.approvals}
        if role is Role.OFFICER
        else {"release": present.signatures, TRANSPORT_PART: present.transport_signatures}
    )
    messages = paper.messages(role)
    good = [
        set(tally(role.ids(root), root.keys, several, messages[part]).good) for part, several in lists.items()
    ]
    return tuple(sorted(set.intersection(*good)))


def all_roots(known: Sequence[SignedRoot], carried: Sequence[SignedRoot]) -> tuple[SignedRoot, ...]:
    """The roots of the keys folder and of the bundle as one chain, oldest first.

    Raises: TrustError: they are of two authorities. BadSignature: a step does not hold.
    """
    by_version = {signed.root.version: signed for signed in carried}
    for signed in known:
        there = by_version.setdefault(signed.root.version, signed)
        if there.root.fingerprint != signed.root.fingerprint:
            raise other_root(signed.root, there.root)
        by_version[signed.root.version] = signed
    chain = tuple(by_version[version] for version in sorted(by_version))
    follow(chain[0].root, chain)
    return chain


def _raw(data: bytes) -> bytes:
    try:
        return base64.b64decode(data.strip(), validate=True) if len(data) != 64 else data
    except binascii.Error:
        return data
