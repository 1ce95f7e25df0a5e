"""Private signing keys: PKCS#8 PEM, encrypted under a passphrase, mode 0600."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from sealift.errors import UsageError
from sealift.trust.keys import ED25519, PublicKey, Signature


class WrongPassphrase(UsageError):
    """The file is a private key that this passphrase does not open, or no private key at all."""


class SigningKey:
    """A private key in memory; its `repr` tells nothing."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @property
    def public(self) -> PublicKey:
        """The public half."""
        raw = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return PublicKey(ED25519, raw.hex())

    def sign(self, message: bytes) -> Signature:
        """Sign `message` (RFC 8032: deterministic, so packing twice gives the same bytes)."""
        return Signature(ED25519, self.public.key_id, self._private.sign(message))


def generate() -> SigningKey:
    """A new Ed25519 key from the system's random source."""
    return SigningKey(Ed25519PrivateKey.generate())


def save(key: SigningKey, path: Path, passphrase: bytes) -> None:
    """Write the key, encrypted, 0600; never over an existing file.

    Raises: UsageError: the file exists, or the passphrase is empty.
    """
    if not passphrase:
        raise UsageError(f"{path}: the passphrase is empty", next_step="choose one of at least 8 characters")
    pem = key._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{path} exists; keys are never overwritten") from error
    with os.fdopen(handle, "wb") as stream:
        stream.write(pem)
        stream.flush()
        os.fsync(stream.fileno())


def load(path: Path, passphrase: bytes) -> SigningKey:
    """Read a key back.

    Raises: UsageError: not there, not readable, not an Ed25519 key. WrongPassphrase.
    """
    try:
        private = load_pem_private_key(path.read_bytes(), passphrase)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the key: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise WrongPassphrase(f"{path}: wrong passphrase, or not a private key") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(f"{path}: expected an Ed25519 key")
    return SigningKey(private)
