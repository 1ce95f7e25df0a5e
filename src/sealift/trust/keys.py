"""Public keys and detached signatures (docs/reference/bundle-format.md, clause 5)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sealift import canonical
from sealift.errors import MalformedBundle

ED25519: Final = "ed25519"
RELEASE_CONTEXT: Final = b"sealift release v1\n"
APPROVAL_CONTEXT: Final = b"sealift approval v1\n"
TRANSPORT_CONTEXT: Final = b"sealift transport v1\n"
ROOT_CONTEXT: Final = b"sealift root v1\n"
"""What is signed is context + the document's bytes: a signature of one kind is never one of another."""

MAX_SIGNATURES: Final = 64
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What `alg` names: the sizes of its raw public key and signature, and how one is checked.

    `verify(public, signature, message)` raises ValueError where it does not hold.
    """

    public_bytes: int
    signature_bytes: int
    verify: Callable[[bytes, bytes, bytes], None]


def _verify_ed25519(public: bytes, signature: bytes, message: bytes) -> None:
    # Imported where it is used: a supervisor lives for months and verifies nothing; the library costs it 10 MB.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise ValueError("the signature does not hold") from None


ALGORITHMS: Final[Mapping[str, Algorithm]] = {ED25519: Algorithm(32, 64, _verify_ed25519)}
"""Clause 5.1. SM2 with SM3 would be one more line here, and one more kind in `seal/keyfile.py`."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`public` is the raw key in lower-case hex: 64 digits for ed25519."""

    alg: str
    public: str

    @property
    def key_id(self) -> str:
        """SHA-256 of the key's canonical document, 64 hex digits."""
        return canonical.digest(canonical.encode(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """`{"alg": ..., "public": ...}`."""
        return {"alg": self.alg, "public": self.public}

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """True if `signature` (raw bytes) is this key's over `message`."""
        try:
            ALGORITHMS[self.alg].verify(bytes.fromhex(self.public), signature, message)
        except (ValueError, KeyError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature: which key says it made it, and its raw bytes."""

    alg: str
    key_id: str
    signature: bytes

    def to_json(self) -> dict[str, Any]:
        """`{"alg": ..., "key": ..., "signature": base64}`."""
        return {"alg": self.alg, "key": self.key_id, "signature": base64.b64encode(self.signature).decode()}


def key_from_json(value: object, what: str) -> PublicKey:
    """Raises: MalformedBundle: unknown algorithm, or not the raw key in lower-case hex."""
    if not isinstance(value, dict) or set(value) != {"alg", "public"}:
        raise MalformedBundle(f"{what}: expected a key with alg and public")
    digits = 2 * _algorithm(value["alg"], what).public_bytes
    public = value["public"]
    if not isinstance(public, str) or len(public) != digits or set(public) - _HEX:
        raise MalformedBundle(f"{what}: expected {digits} hex digits as public key")
    return PublicKey(value["alg"], public)


def is_key_id(value: object) -> bool:
    """Claims that it has the form of a key id: 64 lower-case hex digits."""
    return isinstance(value, str) and len(value) == 64 and not set(value) - _HEX


def signatures_to_json(signatures: Iterable[Signature]) -> list[dict[str, Any]]:
    """Ordered by key id, so that the document has one form whatever order people signed in."""
    return [item.to_json() for item in sorted(signatures, key=lambda item: item.key_id)]


def signatures_from_json(value: object, what: str) -> tuple[Signature, ...]:
    """Clause 5.3.

    Raises: MalformedBundle: wrong shape, wrong order, an unknown algorithm, or a key that signed twice.
    """
    if not isinstance(value, list) or len(value) > MAX_SIGNATURES:
        raise MalformedBundle(f"{what}: expected at most {MAX_SIGNATURES} signatures")
    found = tuple(_signature(item, what) for item in value)
    ids = [item.key_id for item in found]
    if ids != sorted(set(ids)):
        raise MalformedBundle(f"{what}: signatures are not in the order of their keys, or one stands twice")
    return found


def merge_signatures(old: Iterable[Signature], new: Iterable[Signature]) -> tuple[Signature, ...]:
    """Both, in key order; where a key signed in both, the new signature stands."""
    by_key = {item.key_id: item for item in [*old, *new]}
    return tuple(by_key[key_id] for key_id in sorted(by_key))


@dataclass(frozen=True, slots=True)
class Tally:
    """The signatures by some keys over one message: distinct key ids, sorted. `wrong` do not verify."""

    good: tuple[str, ...]
    wrong: tuple[str, ...]


def tally(
    candidates: Iterable[str], keys: Mapping[str, PublicKey], signatures: Iterable[Signature], message: bytes
) -> Tally:
    """Check every signature that says it is a candidate's; others are left out."""
    permitted = set(candidates)
    good: set[str] = set()
    wrong: set[str] = set()
    for item in signatures:
        if item.key_id in permitted:
            key = keys[item.key_id]
            holds = item.alg == key.alg and key.verifies(item.signature, message)
            (good if holds else wrong).add(item.key_id)
    return Tally(tuple(sorted(good - wrong)), tuple(sorted(wrong)))


def _algorithm(name: object, what: str) -> Algorithm:
    if not isinstance(name, str) or name not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise MalformedBundle(
            f"{what}: algorithm {name!r} is not known to this sealift (it knows {known})",
            next_step="use a sealift that knows it",
        )
    return ALGORITHMS[name]


def _signature(value: object, what: str) -> Signature:
    if not isinstance(value, dict) or set(value) != {"alg", "key", "signature"}:
        raise MalformedBundle(f"{what}: expected alg, key and signature")
    size = _algorithm(value["alg"], what).signature_bytes
    key_id, text = value["key"], value["signature"]
    if not is_key_id(key_id) or not isinstance(text, str):
        raise MalformedBundle(f"{what}: a signature's key is not a key id, or its signature no string")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedBundle(f"{what}: a signature is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise MalformedBundle(f"{what}: a signature is not in its one base64 form")
    if len(raw) != size:
        raise MalformedBundle(f"{what}: a signature has {len(raw)} bytes, {value['alg']} has {size}")
    return Signature(value["alg"], key_id, raw)
