"""From the pinned root to a newer one, one version at a time (clause 6.3)."""

from __future__ import annotations

from collections.abc import Sequence

from sealift import canonical
from sealift.errors import BadSignature, TrustError
from sealift.trust.keys import tally
from sealift.trust.root import Root, SignedRoot


def follow(pinned: Root, offered: Sequence[SignedRoot]) -> Root:
    """The newest root that the pinned one leads to; the pinned one where none is newer.

    Offered roots older than the pinned one are history: their steps are checked, none is returned.

    Raises:
        BadSignature: a step that the thresholds of both versions did not sign, or a wrong signature.
        TrustError: another root under the pinned version's number, two of one version, a version left
            out on the way from the pinned one, or a step that forgets a revoked key.
    """
    newest = pinned
    before: Root | None = None
    for signed in sorted(offered, key=lambda item: item.root.version):
        root = signed.root
        if before is not None and root.version == before.version:
            raise TrustError(f"two roots of version {root.version} are offered")
        if root.version == pinned.version and root.fingerprint != pinned.fingerprint:
            raise other_root(pinned, root)
        if root.version > newest.version:
            _require_next(newest, root)
            require_step(newest, signed)
            newest = root
        elif before is not None and before.version + 1 == root.version:
            require_step(before, signed)
        before = root
    return newest


def leads(older: Root, newer: SignedRoot, between: Sequence[SignedRoot]) -> bool:
    """Claims that `newer` is `older` or can be reached from it through `between`."""
    steps = [item for item in between if older.version < item.root.version < newer.root.version]
    try:
        return follow(older, [*steps, newer]).fingerprint == newer.root.fingerprint
    except TrustError:
        return False


def require_step(old: Root, signed: SignedRoot) -> None:
    """Clause 6.3: version N+1 is signed by the thresholds of N and of N+1, and by nobody else.

    Raises: BadSignature, TrustError: it forgets a key that version N revoked.
    """
    new = signed.root
    if problems := step_problems(old, signed):
        raise BadSignature(f"root version {new.version}: {problems[0]}", problems=problems[1:])
    forgotten = sorted(set(old.revoked) - set(new.revoked))
    if forgotten:
        raise TrustError(
            f"root version {new.version} forgets that {canonical.short(forgotten[0])} is revoked"
        )


def step_problems(old: Root, signed: SignedRoot) -> tuple[str, ...]:
    """What the signatures of a step lack, one sentence each; empty: it holds."""
    new = signed.root
    signers = {*old.root_keys, *new.root_keys}
    counted = tally(signers, {**old.keys, **new.keys}, signed.signatures, new.message())
    strangers = sorted({item.key_id for item in signed.signatures} - signers)
    problems = [f"the signature of root key {canonical.short(key_id)} is wrong" for key_id in counted.wrong]
    problems += [f"{canonical.short(key_id)} signed it and may not" for key_id in strangers]
    for root in (old, new):
        good = len(set(counted.good) & set(root.root_keys))
        if good < root.root_threshold:
            problems.append(
                f"signed by {good} of the {len(root.root_keys)} root keys of version {root.version}, "
                f"{root.root_threshold} are needed"
            )
    return tuple(problems)


def other_root(pinned: Root, offered: Root) -> TrustError:
    """The refusal of a root that the pinned one does not lead to (clause 6.3)."""
    return TrustError(
        f"this prefix trusts root {canonical.short(pinned.fingerprint)} (version {pinned.version}), "
        f"the one offered is {canonical.short(offered.fingerprint)} (version {offered.version}), "
        "and no chain of signatures leads from one to the other",
        next_step="ask who signs your bundles; the last resort is: sealift trust replace ROOT.json",
    )


def _require_next(newest: Root, root: Root) -> None:
    if root.version != newest.version + 1:
        raise TrustError(
            f"root version {root.version} is offered and version {newest.version} trusted; "
            f"version {newest.version + 1} is missing between them",
            next_step="bring every root into the bundle: sealift sign BUNDLE --keys KEYS",
        )
