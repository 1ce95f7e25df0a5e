"""Which root this prefix believes: pinned once, then compared (DESIGN 2)."""

from __future__ import annotations

from pathlib import Path

from sealift import canonical
from sealift.bundle.read import UnverifiedBundle
from sealift.errors import RootNotPinned, UsageError
from sealift.store.files import storing, write_file
from sealift.store.prefix import Prefix
from sealift.trust.root import Root, SignedRoot, accept_root, decode_root


def pinned_root(prefix: Prefix) -> Root | None:
    """The root of this prefix, or None before the first install."""
    if not prefix.pinned_root.is_file():
        return None
    with storing(prefix.pinned_root):
        return decode_root(prefix.pinned_root.read_bytes(), str(prefix.pinned_root)).root


def read_root(path: Path) -> SignedRoot:
    """A root.json that a person named. Raises: UsageError, MalformedBundle, BadSignature."""
    try:
        return decode_root(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"--trust {path}: {error.strerror}") from error


def root_to_trust(prefix: Prefix, offered: SignedRoot | None, bundle: UnverifiedBundle) -> Root:
    """The root to verify `bundle` with; nothing is written here.

    Raises:
        RootNotPinned: first install and no `--trust`.
        TrustError: `--trust` names another root than the pinned one.
    """
    pinned = pinned_root(prefix)
    if offered is not None:
        return accept_root(pinned, offered.root)
    if pinned is not None:
        return pinned
    inside = ", ".join(canonical.short(signed.root.fingerprint) for signed in bundle.roots) or "none"
    raise RootNotPinned(
        f"{prefix.root} trusts nobody yet, and a bundle cannot vouch for itself (roots inside it: {inside})",
        next_step="get root.json and its fingerprint on paper from who signs, then --trust root.json",
    )


def pin(prefix: Prefix, offered: SignedRoot | None) -> bool:
    """Pin the root that was offered and accepted; True if this was the first time."""
    if offered is None or prefix.pinned_root.is_file():
        return False
    write_file(prefix.pinned_root, offered.encode())
    return True
