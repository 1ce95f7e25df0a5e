"""Root version N + what changes -> root version N+1; nothing is signed here (clause 6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sealift import canonical
from sealift.errors import UsageError
from sealift.trust.keys import PublicKey, is_key_id
from sealift.trust.root import Root, root_problems

_SHORTEST_ID = 8


@dataclass(frozen=True, slots=True)
class Changes:
    """What the next root has otherwise; a threshold of None stays as it is.

    `remove` are key ids of any role; `revoke` are removed too and listed for ever.
    """

    remove: tuple[str, ...] = ()
    revoke: tuple[str, ...] = ()
    add_root: tuple[PublicKey, ...] = ()
    add_release: Mapping[PublicKey, tuple[str, ...]] = field(default_factory=dict)
    add_officers: tuple[PublicKey, ...] = ()
    root_threshold: int | None = None
    release_threshold: int | None = None
    officer_threshold: int | None = None

    @property
    def added(self) -> tuple[PublicKey, ...]:
        """Every new key, whatever its role."""
        return (*self.add_root, *self.add_release, *self.add_officers)


def next_root(root: Root, changes: Changes) -> Root:
    """The unsigned root of the next version.

    Raises: UsageError: nothing changes, a key is added that is there already or was revoked, or what
        comes out is no root (too few keys for a threshold, ...); all of it at once.
    """
    gone = {*changes.remove, *changes.revoke}
    problems = [
        f"key {canonical.short(key.key_id)} {'is revoked' if key.key_id in root.revoked else 'stands in the root'}"
        for key in changes.added
        if key.key_id in root.revoked or (key.key_id in root.keys and key.key_id not in gone)
    ]
    made = _changed(root, changes, gone)
    if replace(made, version=root.version) == root:
        problems.append("nothing changes")
    problems += root_problems(made)
    if problems:
        raise UsageError(
            f"root version {made.version} cannot be made",
            problems=problems,
            next_step="add keys in the same step (--add-root, --add-release, --add-officer), or lower a threshold",
        )
    return made


def resolve_key(root: Root, text: str) -> str:
    """The whole id of the key that a person names: `sha256:9f31-c2a0`, or its first 8 to 64 hex digits.

    Raises: UsageError: no such key, or several.
    """
    digits = text.strip().lower().removeprefix("sha256:").replace("-", "")
    known = sorted({*root.keys, *root.revoked})
    found = [key_id for key_id in known if key_id.startswith(digits)]
    if len(digits) >= _SHORTEST_ID and len(found) == 1:
        return found[0]
    # A key of an older root is named whole, or it could be another one than meant.
    if is_key_id(digits) and not found:
        return digits
    raise UsageError(
        f"key {text!r}: {len(found) if len(digits) >= _SHORTEST_ID else 'no'} such key; "
        f"expected its first {_SHORTEST_ID} digits or more",
        problems=[canonical.short(key_id) for key_id in root.keys],
    )


def _changed(root: Root, changes: Changes, gone: set[str]) -> Root:
    added = {key.key_id: key for key in changes.added}
    release = {
        **{key_id: patterns for key_id, patterns in root.release_keys.items() if key_id not in gone},
        **{key.key_id: tuple(sorted(set(patterns))) for key, patterns in changes.add_release.items()},
    }
    return Root(
        version=root.version + 1,
        keys={**{key_id: key for key_id, key in root.keys.items() if key_id not in gone}, **added},
        root_keys=_role(root.root_keys, changes.add_root, gone),
        root_threshold=_or(changes.root_threshold, root.root_threshold),
        release_keys=release,
        release_threshold=_or(changes.release_threshold, root.release_threshold),
        officers=_role(root.officers, changes.add_officers, gone),
        officer_threshold=_or(changes.officer_threshold, root.officer_threshold),
        revoked=tuple(sorted({*root.revoked, *changes.revoke})),
    )


def _role(ids: tuple[str, ...], added: tuple[PublicKey, ...], gone: set[str]) -> tuple[str, ...]:
    return tuple(sorted({*(key_id for key_id in ids if key_id not in gone), *(key.key_id for key in added)}))


def _or(wanted: int | None, present: int) -> int:
    return present if wanted is None else wanted
