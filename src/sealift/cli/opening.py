"""How the verbs open a bundle: read it, and find the root and policy to judge it by."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.bundle.bases import BundleObjects, manifest_in
from sealift.bundle.read import (
    FindBase,
    UnverifiedBundle,
    VerifiedBundle,
    read_bundle,
    verify,
    vouch_for,
)
from sealift.bundle.source import Source, open_source
from sealift.errors import MissingPart, SealiftError, TrustError
from sealift.inspect.visible import visible
from sealift.install.trust import pinned_root, read_policy, read_root, root_to_trust
from sealift.store.files import storing
from sealift.store.objects import store_of
from sealift.store.prefix import Prefix
from sealift.store.releases import known_manifest
from sealift.trust.chain import follow
from sealift.trust.root import Root, SignedRoot
from sealift.trust.vouch import Policy, Vouched

_MESSAGE: Final = 2000


@dataclass(frozen=True, slots=True)
class Looked:
    """A bundle to look at, and by what this machine would judge it; `root` is None where nobody is trusted."""

    bundle: UnverifiedBundle
    root: Root | None
    policy: Policy


@dataclass(frozen=True, slots=True)
class Judged:
    """A bundle that the root vouches for, as far as its files are known here; never one to install."""

    bundle: UnverifiedBundle
    root: Root
    vouched: Vouched


def open_for_install(
    path: Path, trust: Path | None, prefix: Prefix, *, may_lack: bool = False
) -> tuple[VerifiedBundle, SignedRoot | None]:
    """A bundle that this prefix may install, and the root to pin if it was offered.

    Args:
        may_lack: of a bundle in volumes some may be missing or damaged.
    Raises: UsageError, BundleError, TrustError, StoreError.
    """
    with told_plainly():
        source = open_source(path, may_lack=may_lack)
    offered = read_root(trust) if trust is not None else None
    return judge(source, offered, prefix), offered


def judge(source: Source, offered: SignedRoot | None, prefix: Prefix) -> VerifiedBundle:
    """What this prefix may install, by its documents. Raises: BundleError, TrustError, StoreError."""
    with told_plainly():
        bundle = read_bundle(source, _Manifests(prefix))
    return verify(bundle, root_to_trust(prefix, offered, bundle), read_policy(prefix))


def open_to_verify(
    path: Path, trust: Path | None, prefix: Prefix, older: UnverifiedBundle | None = None
) -> Judged:
    """A bundle and who vouches for it; of a delta some layers may not be known here.

    Args:
        older: has the manifests that a delta leaves out.
    Raises: UsageError, BundleError, TrustError, StoreError.
    """
    with told_plainly():
        bundle = read_bundle(open_source(path), _Manifests(prefix, older), may_lack=True)
    offered = read_root(trust) if trust is not None else None
    root = root_to_trust(prefix, offered, bundle)
    return Judged(bundle, root, vouch_for(bundle, root, read_policy(prefix)))


@contextmanager
def bases_at_hand(prefix: Prefix, older: UnverifiedBundle | None) -> Iterator[FindBase]:
    """The objects that patches are made from: in this box's store, else in an older bundle."""
    store = store_of(prefix)
    with tempfile.TemporaryDirectory(prefix="sealift-bases-") as folder:
        in_older = BundleObjects([older] if older is not None else [], Path(folder))

        def find(sha256: str) -> Path | None:
            with storing(store.root):
                path = store.base(sha256)
            return path if path is not None else in_older(sha256)

        yield find


def open_to_look(
    path: Path, trust: Path | None, prefix: Prefix, older: UnverifiedBundle | None = None
) -> Looked:
    """A bundle to look at, whoever signed it; `--trust` goes before the pinned root.

    Args:
        older: has the manifests that a small bundle leaves out.
    Raises: UsageError, BundleError, DigestMismatch; StoreError: this machine's own trust is damaged.
    """
    manifests = _Manifests(prefix, older)
    try:
        bundle = read_bundle(open_source(path), manifests)
    except MissingPart as error:
        if not manifests.lacking:
            raise
        raise MissingPart(
            error.message,
            next_step="name the bundle that the box has: --against OLD; or carry the full bundle",
        ) from error
    root = read_root(trust).root if trust is not None else pinned_root(prefix)
    if root is not None:
        with contextlib.suppress(TrustError):  # no chain from here: then the root at hand is the judge
            root = follow(root, bundle.roots)
    return Looked(bundle, root, read_policy(prefix))


@contextmanager
def told_plainly(about: str = "") -> Iterator[None]:
    """Errors quote what a bundle holds: nothing of that reaches a terminal as a command.

    Args:
        about: stands before the message, where several bundles are open.
    """
    try:
        yield
    except SealiftError as error:
        raise type(error)(
            visible(about + error.message, _MESSAGE),
            next_step=error.next_step,
            problems=[visible(problem, _MESSAGE) for problem in error.problems],
        ) from error


class _Manifests:
    """Layer manifests that do not travel: in an older bundle, else in this box's store."""

    def __init__(self, prefix: Prefix, older: UnverifiedBundle | None = None) -> None:
        self._prefix = prefix
        self._older = older
        self.lacking = False

    def __call__(self, digest: str) -> bytes | None:
        data = self._in_older(digest)
        if data is None:
            with storing(self._prefix.manifests):
                data = known_manifest(self._prefix, digest)
        self.lacking = self.lacking or data is None
        return data

    def _in_older(self, digest: str) -> bytes | None:
        return None if self._older is None else manifest_in(self._older, digest)
