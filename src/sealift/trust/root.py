"""The trust root: which offline keys vouch for which release keys and officers (clause 6.1)."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sealift import canonical
from sealift.errors import BadSignature, MalformedBundle
from sealift.trust.keys import (
    ROOT_CONTEXT,
    PublicKey,
    Signature,
    is_key_id,
    key_from_json,
    signatures_from_json,
    signatures_to_json,
    tally,
)

ROOT_FORMAT: Final = "sealift-root/1"
MAX_ROLE_KEYS: Final = 32
"""So that a rotation signed by every old and every new root key fits the 64 signatures of clause 5.3."""
MAX_REVOKED: Final = 1024
_PATTERN: Final = re.compile(r"[a-z0-9._*?-]{1,64}")
_KEYS: Final = {"format", "keys", "officers", "release", "revoked", "root", "version"}


@dataclass(frozen=True, slots=True)
class Root:
    """One version of the trust root.

    `root_keys`: `root_threshold` of these sign roots. `release_keys`: key id -> product patterns
    (`fraud*`); `release_threshold` distinct ones must sign a release. `officers`: `officer_threshold`
    of these must approve it (0: none asked). `revoked`: key ids that never count again.
    """

    version: int
    keys: Mapping[str, PublicKey]
    root_keys: tuple[str, ...]
    root_threshold: int
    release_keys: Mapping[str, tuple[str, ...]]
    release_threshold: int
    officers: tuple[str, ...] = ()
    officer_threshold: int = 0
    revoked: tuple[str, ...] = ()

    def signed_part(self) -> dict[str, Any]:
        """The JSON object that root keys sign."""
        return {
            "format": ROOT_FORMAT,
            "keys": {key_id: key.to_json() for key_id, key in self.keys.items()},
            "officers": {"keys": sorted(self.officers), "threshold": self.officer_threshold},
            "release": {
                "keys": {key_id: sorted(patterns) for key_id, patterns in self.release_keys.items()},
                "threshold": self.release_threshold,
            },
            "revoked": sorted(self.revoked),
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

    def may_sign(self, product: str) -> tuple[str, ...]:
        """The release keys with a pattern that matches the whole name, case and all (clause 6.2)."""
        return tuple(
            sorted(
                key_id
                for key_id, patterns in self.release_keys.items()
                if any(fnmatch.fnmatchcase(product, pattern) for pattern in patterns)
            )
        )


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

    Signatures by keys of the version before are left to `trust.chain`, which knows them.

    Raises: MalformedBundle: not its one form. BadSignature: a signature of its own root keys does not
        verify, its own threshold is not met, or a stranger signed a first version.
    """
    signed = decode_partial_root(data, what)
    root = signed.root
    own = tally(root.root_keys, root.keys, signed.signatures, root.message())
    if own.wrong:
        raise BadSignature(f"{what}: the signature of root key {canonical.short(own.wrong[0])} is wrong")
    if len(own.good) < root.root_threshold:
        raise BadSignature(
            f"{what}: signed by {len(own.good)} of its root keys, {root.root_threshold} are needed"
        )
    if root.version == 1 and len(own.good) != len(signed.signatures):
        raise BadSignature(f"{what}: version 1 is signed by a key that is not one of its root keys")
    return signed


def decode_partial_root(data: bytes, what: str) -> SignedRoot:
    """Read a root whose signatures nobody has checked, and that may still be too few.

    Raises: MalformedBundle: not its one form.
    """
    doc = canonical.decode(data, what)
    if set(doc) != {"signatures", "signed"} or not isinstance(doc["signed"], dict):
        raise MalformedBundle(f"{what}: expected signatures and signed")
    return SignedRoot(_root_from_json(doc["signed"], what), signatures_from_json(doc["signatures"], what))


def root_problems(root: Root) -> tuple[str, ...]:
    """What makes it no root (clause 6.1); the same rules for writers and readers."""
    roles = {
        "root": (set(root.root_keys), root.root_threshold, 1),
        "release": (set(root.release_keys), root.release_threshold, 1),
        "officers": (set(root.officers), root.officer_threshold, 0),
    }
    problems = [
        f"threshold {threshold} of {len(ids)} {role} keys"
        for role, (ids, threshold, least) in roles.items()
        if not least <= threshold <= len(ids)
    ]
    problems += [
        f"{len(ids)} {role} keys, at most {MAX_ROLE_KEYS} are permitted"
        for role, (ids, _, _) in roles.items()
        if len(ids) > MAX_ROLE_KEYS
    ]
    named = [key_id for ids, _, _ in roles.values() for key_id in ids]
    # Whoever approves must be another than whoever signs, else "release key AND officer" is one person.
    if len(named) != len(set(named)):
        problems.append("a key has two roles")
    if set(named) != set(root.keys):
        problems.append("the roles name other keys than those listed")
    if set(root.revoked) & set(root.keys):
        problems.append("a revoked key is listed")
    patterns = [pattern for several in root.release_keys.values() for pattern in several]
    problems += [
        f"product pattern {pattern!r}, expected letters a-z, digits and . _ - * ?"
        for pattern in patterns
        if not _PATTERN.fullmatch(pattern)
    ]
    if not all(root.release_keys.values()):
        problems.append("a release key without a product pattern")
    return tuple(problems)


def _root_from_json(doc: Mapping[str, Any], what: str) -> Root:
    if set(doc) != _KEYS or doc["format"] != ROOT_FORMAT:
        raise MalformedBundle(
            f"{what}: expected format {ROOT_FORMAT} with the keys {', '.join(sorted(_KEYS))}"
        )
    for part in (doc["officers"], doc["release"], doc["root"]):
        if not isinstance(part, dict) or set(part) != {"keys", "threshold"}:
            raise MalformedBundle(f"{what}: a role needs keys and threshold")
    release_doc = doc["release"]["keys"]
    if not isinstance(doc["keys"], dict) or not isinstance(release_doc, dict):
        raise MalformedBundle(f"{what}: keys are not an object")
    root = Root(
        version=_count(doc["version"], "version", what),
        keys=_keys(doc["keys"], what),
        root_keys=_strings(doc["root"]["keys"], what),
        root_threshold=_count(doc["root"]["threshold"], "root.threshold", what),
        release_keys={key_id: _strings(patterns, what) for key_id, patterns in release_doc.items()},
        release_threshold=_count(doc["release"]["threshold"], "release.threshold", what),
        officers=_strings(doc["officers"]["keys"], what),
        officer_threshold=_count(doc["officers"]["threshold"], "officers.threshold", what, least=0),
        revoked=_strings(doc["revoked"], what),
    )
    if not all(is_key_id(key_id) for key_id in root.revoked) or len(root.revoked) > MAX_REVOKED:
        raise MalformedBundle(f"{what}: revoked is not a list of at most {MAX_REVOKED} key ids")
    if problems := root_problems(root):
        raise MalformedBundle(f"{what}: {problems[0]}", problems=problems[1:])
    return root


def _keys(doc: Mapping[str, Any], what: str) -> dict[str, PublicKey]:
    keys = {key_id: key_from_json(value, what) for key_id, value in doc.items()}
    if any(key.key_id != key_id for key_id, key in keys.items()):
        raise MalformedBundle(f"{what}: a key does not have the id it stands under")
    return keys


def _strings(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MalformedBundle(f"{what}: expected a list of strings")
    if value != sorted(set(value)):
        raise MalformedBundle(f"{what}: a list is not sorted or repeats itself")
    return tuple(value)


def _count(value: object, name: str, what: str, *, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise MalformedBundle(f"{what}: {name} is {value!r}, expected {least} or more")
    return value
