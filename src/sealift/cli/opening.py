"""How the verbs open a bundle: read, and verify with whatever root the box or the person trusts."""

from __future__ import annotations

from pathlib import Path

from sealift.bundle.read import UnverifiedBundle, VerifiedBundle, read_bundle, verify
from sealift.bundle.source import open_source
from sealift.install.trust import pinned_root, read_root, root_to_trust
from sealift.store.prefix import Prefix
from sealift.trust.root import SignedRoot


def open_for_install(
    path: Path, trust: Path | None, prefix: Prefix
) -> tuple[VerifiedBundle, SignedRoot | None]:
    """A bundle that this prefix may install, and the root to pin if it was offered.

    Raises: UsageError, BundleError, TrustError.
    """
    bundle = read_bundle(open_source(path))
    offered = read_root(trust) if trust is not None else None
    return verify(bundle, root_to_trust(prefix, offered, bundle)), offered


def open_to_look(
    path: Path, trust: Path | None, prefix: Prefix
) -> tuple[UnverifiedBundle, VerifiedBundle | None]:
    """A bundle to look at; verified when a root is named or pinned, else None beside it.

    Raises: UsageError, BundleError; TrustError only when a root is at hand and does not vouch.
    """
    bundle = read_bundle(open_source(path))
    root = read_root(trust).root if trust is not None else pinned_root(prefix)
    return bundle, verify(bundle, root) if root is not None else None
