"""Canonical JSON: the one encoding of every document that is signed or named by digest.

RFC 8785 (JCS), narrowed: numbers are integers within +-(2^53 - 1), so no float formatting can differ
between writers. Reading is strict: any other encoding of the same value is refused
(docs/reference/bundle-format.md, clause 1).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from sealift.errors import MalformedBundle

MAX_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 32

Document = dict[str, Any]


def encode(value: object) -> bytes:
    """Encode to the canonical bytes.

    Raises: ValueError: a float, an integer out of range, a non-string key, a lone surrogate, depth > 32.
    """
    text = json.dumps(_ordered(value, 0), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8")


def decode(data: bytes, what: str) -> Document:
    """Decode an object that must be in canonical form; `what` names the document in errors.

    Raises: MalformedBundle: not JSON, not an object, duplicate keys, or not the canonical bytes.
    """
    try:
        value = json.loads(
            data, object_pairs_hook=_no_duplicates, parse_float=_no_float, parse_constant=_no_float
        )
        canonical = encode(value)
    except (ValueError, RecursionError) as error:
        raise MalformedBundle(f"{what}: not a canonical JSON document: {error}") from error
    if not isinstance(value, dict):
        raise MalformedBundle(f"{what}: expected a JSON object, found {type(value).__name__}")
    if canonical != data:
        raise MalformedBundle(f"{what}: expected canonical JSON (RFC 8785), found another encoding")
    return value


def digest(data: bytes) -> str:
    """SHA-256 of the bytes, 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def short(identity: str) -> str:
    """The form on every screen: `sha256:9f31-c2a0` (the first 8 of 64 hex digits)."""
    return f"sha256:{identity[:4]}-{identity[4:8]}"


def _ordered(value: object, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key is not a string")
        keys = sorted(value, key=_utf16)
        return {key: _ordered(value[key], depth + 1) for key in keys}
    if isinstance(value, list | tuple):
        return [_ordered(item, depth + 1) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and abs(value) <= MAX_INTEGER:
        return value
    raise ValueError(f"{type(value).__name__} {value!r} has no canonical form here")


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> Document:
    found: Document = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} stands twice")
        found[key] = value
    return found


def _no_float(text: str) -> object:
    raise ValueError(f"{text} is not an integer")
