"""Which root this prefix believes, and what it asks beyond it: pinned once, then led on (clauses 6.3, 6.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sealift import canonical
from sealift.bundle.read import UnverifiedBundle
from sealift.errors import BundleError, RootNotPinned, StoreError, TrustError, UsageError
from sealift.store.files import read_document, storing, write_document, write_file
from sealift.store.prefix import Prefix
from sealift.trust.chain import follow, leads, other_root
from sealift.trust.root import MAX_ROLE_KEYS, Root, SignedRoot, decode_root
from sealift.trust.vouch import Policy

POLICY_FORMAT: Final = "sealift-policy/1"
Audit = Callable[[Mapping[str, Any]], object]
"""Writes what is about to happen into the box's log; raises where it cannot, and then nothing happens."""

PAPER_DIGITS: Final = 8
"""How many of the fingerprint's last digits a person types from the paper."""


def pinned_root(prefix: Prefix) -> Root | None:
    """The root of this prefix, or None before the first install."""
    pinned = _pinned(prefix)
    return pinned.root if pinned is not None else None


def read_root(path: Path) -> SignedRoot:
    """A root.json that a person named. Raises: UsageError, MalformedBundle, BadSignature."""
    try:
        return decode_root(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"--trust {path}: {error.strerror}") from error


def root_to_trust(prefix: Prefix, offered: SignedRoot | None, bundle: UnverifiedBundle) -> Root:
    """The root to verify `bundle` with; nothing is written here.

    It is the newest that the pinned root (at a first install: the offered one) leads to.

    Raises:
        RootNotPinned: first install and no `--trust`.
        TrustError: `--trust` or the bundle brings a root that the pinned one has no chain to.
        BadSignature: a step of the chain is not signed by the thresholds of both its versions.
    """
    newest = _newest(_pinned(prefix), offered, bundle.roots)
    if newest is None:
        inside = ", ".join(canonical.short(signed.root.fingerprint) for signed in bundle.roots) or "none"
        raise RootNotPinned(
            f"{prefix.root} trusts nobody yet, and a bundle cannot vouch for itself (roots inside it: {inside})",
            next_step="get root.json and its fingerprint on paper from who signs, then --trust root.json",
        )
    return newest.root


def pin(prefix: Prefix, offered: SignedRoot | None, roots: Sequence[SignedRoot] = ()) -> bool:
    """Pin what `root_to_trust` decides for a bundle with these `roots`; True if it was the first one.

    The caller holds the prefix's lock: every step is proved again from what is pinned by now, so a
    prefix is only ever led on, never over to another root and never back.

    Raises: as `root_to_trust`; StoreError.
    """
    pinned = _pinned(prefix)
    newest = _newest(pinned, offered, roots)
    if newest is None:
        return False
    if pinned is None or newest.root.version > pinned.root.version:
        write_file(prefix.pinned_root, newest.encode())
    return pinned is None


def _newest(
    pinned: SignedRoot | None, offered: SignedRoot | None, roots: Sequence[SignedRoot]
) -> SignedRoot | None:
    if pinned is None or offered is None:
        start = pinned or offered
        if start is None:
            return None
    elif offered.root.version < pinned.root.version:
        if not leads(offered.root, pinned, roots):
            raise other_root(pinned.root, offered.root)
        start = pinned
    else:
        between = [item for item in roots if item.root.version < offered.root.version]
        follow(pinned.root, [*between, offered])
        start = offered
    newest = follow(start.root, roots)
    return next(item for item in [start, *roots] if item.root.fingerprint == newest.fingerprint)


def confirm_fingerprint(root: Root, ask: Callable[[str], str]) -> None:
    """Have a person type the end of the fingerprint from the paper, never shown on the screen.

    Args:
        ask: shows a question, returns the answer (`input`).
    Raises: RootNotPinned: other digits; nothing is pinned.
    """
    answer = ask(
        f"trust root version {root.version}: type the last {PAPER_DIGITS} digits of its fingerprint"
        " from the paper: "
    )
    if plain_digits(answer) != root.fingerprint[-PAPER_DIGITS:]:
        raise RootNotPinned(
            "the digits typed are not those of this root; nothing was pinned or changed",
            next_step="compare the paper with who signs your bundles, then again with their root.json",
        )


def plain_digits(text: str) -> str:
    """A fingerprint as people type it: spaces, hyphens, `sha256:` and capitals do not matter."""
    bare = text.strip().lower().removeprefix("sha256:")
    return "".join(character for character in bare if character not in " -\t")


def replace_root(prefix: Prefix, signed: SignedRoot, typed: str, audit: Audit) -> Root | None:
    """The last resort: trust another root from now on; returns the one before, if it could be read.

    The caller holds the prefix's lock. The log says so first: a change that it does not know cannot be.

    Raises: RootNotPinned: `typed` is not the whole fingerprint of `signed`. StoreError: no log, no change.
    """
    after = signed.root
    if plain_digits(typed) != after.fingerprint:
        raise RootNotPinned(
            "the fingerprint typed is not that of this root (all 64 digits are expected); nothing was changed",
            next_step="type it from the paper, never from a file that came with the root",
        )
    before = pinned_or_damaged(prefix)
    audit(
        {
            "action": "replace",
            "after": after.fingerprint,
            "after_version": after.version,
            "before": before.fingerprint if before else "none",
            "before_version": before.version if before else 0,
        }
    )
    write_file(prefix.pinned_root, signed.encode())
    return before


def pinned_or_damaged(prefix: Prefix) -> Root | None:
    """As `pinned_root`; None also where the file is damaged, which replacing it repairs."""
    try:
        return pinned_root(prefix)
    except (BundleError, TrustError):
        return None


def policy_file(prefix: Prefix) -> Path:
    """Where this box's own demands stand; site settings, kept over updates."""
    return prefix.etc / "policy.json"


def read_policy(prefix: Prefix) -> Policy:
    """What this box asks beyond the root; nothing where it has no policy.

    Raises: StoreError: the file is there and not a policy; it is never taken for "nothing".
    """
    path = policy_file(prefix)
    with storing(path):
        if not path.is_symlink() and not path.exists():
            return Policy()
    doc = read_document(path)
    officers = doc.get("officers")
    is_policy = set(doc) == {"format", "officers"} and doc["format"] == POLICY_FORMAT
    if not is_policy or not isinstance(officers, int) or not _is_count(officers):
        raise StoreError(
            f"{path}: expected format {POLICY_FORMAT} and officers",
            next_step="write it again: sealift trust policy --officers N",
        )
    return Policy(officers)


def write_policy(prefix: Prefix, policy: Policy, audit: Audit) -> None:
    """Set what this box asks; the caller holds the prefix's lock, and the log says so first.

    Raises: UsageError: not 0 to 32 officers. StoreError: no log, no change.
    """
    if not _is_count(policy.officers):
        raise UsageError(f"--officers {policy.officers}: expected 0 to {MAX_ROLE_KEYS}")
    try:
        before = str(read_policy(prefix).officers)
    except StoreError:
        before = "damaged"
    audit({"action": "policy", "after_officers": str(policy.officers), "before_officers": before})
    write_document(policy_file(prefix), {"format": POLICY_FORMAT, "officers": policy.officers})


def _is_count(value: int) -> bool:
    return not isinstance(value, bool) and 0 <= value <= MAX_ROLE_KEYS


def _pinned(prefix: Prefix) -> SignedRoot | None:
    with storing(prefix.pinned_root):
        if not prefix.pinned_root.is_file():
            return None
        return decode_root(prefix.pinned_root.read_bytes(), str(prefix.pinned_root))
