"""The trust root: which offline keys vouch for which release keys, for which products (clause 6)."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sealift import canonical
from sealift.errors import BadSignature, MalformedBundle, TrustError, UnknownKey
from sealift.trust.keys import (
    ROOT_CONTEXT,
    PublicKey,
    Signature,
    key_from_json,
    signatures_from_json,
    signatures_to_json,
)

ROOT_FORMAT: Final = "sealift-root/1"


@dataclass(frozen=True, slots=True)
class Root:
    """One version of the trust root.

    `root_keys`: k of these (`root_threshold`) sign roots. `release_keys`: key id -> product patterns
    (`fraud*`); `release_threshold` distinct ones must sign a release.
    """

    version: int
    keys: Mapping[str, PublicKey]
    root_keys: tuple[str, ...]
    root_threshold: int
    release_keys: Mapping[str, tuple[str, ...]]
    release_threshold: int

    def signed_part(self) -> dict[str, Any]:
        """The JSON object that root keys sign."""
        return {
            "format": ROOT_FORMAT,
            "keys": {key_id: key.to_json() for key_id, key in self.keys.items()},
            "release": {
                "keys": {key_id: sorted(patterns) for key_id, patterns in self.release_keys.items()},
                "threshold": self.release_threshold,
            },
            "root": {"keys": sorted(self.root_keys), "threshold": self.root_threshold},
            "version": self.version,
        }

    def message(self) -> bytes:
        """What each root key signs."""
        return ROOT_CONTEXT + canonical.encode(self.signed_part())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the signed part, 64 hex digits: what the paper beside the medium says."""
        return canonical.digest(canonical.encode(self.signed_part()))


@dataclass(frozen=True, slots=True)
class SignedRoot:
    """A root with its signatures, as root.json carries them."""

    root: Root
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The canonical bytes of root.json."""
        return canonical.encode(
            {"signatures": signatures_to_json(self.signatures), "signed": self.root.signed_part()}
        )


def decode_root(data: bytes, what: str = "root.json") -> SignedRoot:
    """Read root.json and check that its own root keys signed it.

    Raises: MalformedBundle: not its one form. BadSignature: its own threshold is not met.
    """
    doc = canonical.decode(data, what)
    if set(doc) != {"signatures", "signed"} or not isinstance(doc["signed"], dict):
        raise MalformedBundle(f"{what}: expected signatures and signed")
    root = _root_from_json(doc["signed"], what)
    signed = SignedRoot(root, signatures_from_json(doc["signatures"], what))
    good = valid_signers(root.root_keys, root.keys, signed.signatures, root.message())
    if len(good) < root.root_threshold:
        raise BadSignature(
            f"{what}: signed by {len(good)} of its root keys, {root.root_threshold} are needed"
        )
    return signed


def release_signers(
    root: Root, product: str, signatures: tuple[Signature, ...], message: bytes
) -> tuple[str, ...]:
    """The release keys that validly signed `message` for `product`; at least the threshold.

    Raises:
        BadSignature: a known key's signature does not verify.
        UnknownKey: too few known keys signed, or they may not sign this product.
    """
    known = [item for item in signatures if item.key_id in root.release_keys]
    allowed = {key_id for key_id, patterns in root.release_keys.items() if _matches(product, patterns)}
    good = valid_signers(root.release_keys, root.keys, known, message)
    bad = sorted({item.key_id for item in known} - set(good))
    if bad:
        raise BadSignature(f"the signature of release key {canonical.short(bad[0])} does not verify")
    vouching = tuple(key_id for key_id in good if key_id in allowed)
    if len(vouching) < root.release_threshold:
        raise UnknownKey(_who_signed(root, product, signatures, len(vouching)))
    return vouching


def valid_signers(
    candidates: Iterable[str], keys: Mapping[str, PublicKey], signatures: Iterable[Signature], message: bytes
) -> tuple[str, ...]:
    """The distinct candidate keys with a signature that verifies, in key order."""
    permitted = set(candidates)
    good = {
        item.key_id
        for item in signatures
        if item.key_id in permitted
        and item.alg == keys[item.key_id].alg
        and keys[item.key_id].verifies(item.signature, message)
    }
    return tuple(sorted(good))


def accept_root(pinned: Root | None, offered: Root) -> Root:
    """Decide which root to believe: the pinned one, or the first ever offered.

    Raises: TrustError: another root than the pinned one (the chain between them is clause 6.3).
    """
    if pinned is None or pinned.fingerprint == offered.fingerprint:
        return offered
    raise TrustError(
        f"this prefix trusts root {canonical.short(pinned.fingerprint)} (version {pinned.version}), "
        f"the one offered is {canonical.short(offered.fingerprint)} (version {offered.version})",
        next_step="leave --trust out to verify against the pinned root; ask who signs your bundles",
    )


def _who_signed(root: Root, product: str, signatures: tuple[Signature, ...], count: int) -> str:
    if not signatures:
        return f"{product}: not signed by anybody; {root.release_threshold} release key(s) must sign"
    names = ", ".join(canonical.short(item.key_id) for item in signatures)
    return (
        f"{product}: signed by {names}; {count} of them may sign {product} under the trusted root, "
        f"{root.release_threshold} must"
    )


def _matches(product: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(product, pattern) for pattern in patterns)


def _root_from_json(doc: Mapping[str, Any], what: str) -> Root:
    if set(doc) != {"format", "keys", "release", "root", "version"} or doc["format"] != ROOT_FORMAT:
        raise MalformedBundle(f"{what}: expected format {ROOT_FORMAT} with keys, release, root and version")
    keys_doc, root_doc, release_doc = doc["keys"], doc["root"], doc["release"]
    for part in (root_doc, release_doc):
        if not isinstance(part, dict) or set(part) != {"keys", "threshold"}:
            raise MalformedBundle(f"{what}: a role needs keys and threshold")
    if not isinstance(keys_doc, dict) or not isinstance(release_doc["keys"], dict):
        raise MalformedBundle(f"{what}: keys are not an object")
    keys = {key_id: key_from_json(value, what) for key_id, value in keys_doc.items()}
    if any(key.key_id != key_id for key_id, key in keys.items()):
        raise MalformedBundle(f"{what}: a key does not have the id it stands under")
    root_keys = _strings(root_doc["keys"], what)
    release_keys = {key_id: _strings(patterns, what) for key_id, patterns in release_doc["keys"].items()}
    if not set(root_keys) | set(release_keys) <= set(keys):
        raise MalformedBundle(f"{what}: a role names a key that is not listed")
    version = doc["version"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise MalformedBundle(f"{what}: version is {version!r}, expected 1 or more")
    return Root(
        version=version,
        keys=keys,
        root_keys=root_keys,
        root_threshold=_threshold(root_doc["threshold"], len(root_keys), what),
        release_keys=release_keys,
        release_threshold=_threshold(release_doc["threshold"], len(release_keys), what),
    )


def _strings(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MalformedBundle(f"{what}: expected a list of strings")
    if value != sorted(set(value)):
        raise MalformedBundle(f"{what}: a list is not sorted or repeats itself")
    return tuple(value)


def _threshold(value: object, keys: int, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= keys:
        raise MalformedBundle(f"{what}: threshold {value!r} of {keys} keys")
    return value
