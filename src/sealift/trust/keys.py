"""Public keys and detached signatures (docs/reference/bundle-format.md, clause 5)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealift import canonical
from sealift.errors import MalformedBundle

ED25519: Final = "ed25519"
RELEASE_CONTEXT: Final = b"sealift release v1\n"
TRANSPORT_CONTEXT: Final = b"sealift transport v1\n"
ROOT_CONTEXT: Final = b"sealift root v1\n"
"""What is signed is context + the document's bytes: a signature of one kind is never one of another."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`public` is the raw key, 64 hex digits for ed25519. `alg` leaves room for SM2."""

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
        """True if `signature` (64 bytes) is this key's over `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public)).verify(signature, message)
        except (InvalidSignature, ValueError):
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
    alg, public = value["alg"], value["public"]
    if alg != ED25519:
        raise MalformedBundle(f"{what}: algorithm {alg!r} is not known to this sealift (ed25519)")
    if not isinstance(public, str) or len(public) != 64 or set(public) - set("0123456789abcdef"):
        raise MalformedBundle(f"{what}: expected 64 hex digits as public key")
    return PublicKey(alg, public)


def signatures_to_json(signatures: tuple[Signature, ...]) -> list[dict[str, Any]]:
    """Ordered by key id, so that the document has one form whatever order people signed in."""
    return [item.to_json() for item in sorted(signatures, key=lambda item: item.key_id)]


def signatures_from_json(value: object, what: str) -> tuple[Signature, ...]:
    """Raises: MalformedBundle: wrong shape, wrong order, or a key that signed twice."""
    if not isinstance(value, list) or len(value) > 64:
        raise MalformedBundle(f"{what}: expected at most 64 signatures")
    found = tuple(_signature(item, what) for item in value)
    ids = [item.key_id for item in found]
    if ids != sorted(set(ids)):
        raise MalformedBundle(f"{what}: signatures are not in the order of their keys, or one stands twice")
    return found


def _signature(value: object, what: str) -> Signature:
    if not isinstance(value, dict) or set(value) != {"alg", "key", "signature"}:
        raise MalformedBundle(f"{what}: expected alg, key and signature")
    texts = (value["alg"], value["key"], value["signature"])
    if not all(isinstance(text, str) for text in texts):
        raise MalformedBundle(f"{what}: a signature's alg, key or signature is not a string")
    try:
        raw = base64.b64decode(value["signature"], validate=True)
    except binascii.Error as error:
        raise MalformedBundle(f"{what}: a signature is not base64") from error
    if base64.b64encode(raw).decode() != value["signature"]:
        raise MalformedBundle(f"{what}: a signature is not in its one base64 form")
    return Signature(value["alg"], value["key"], raw)
