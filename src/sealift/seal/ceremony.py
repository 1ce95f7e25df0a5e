"""Making keys and the roots that name them: the acts of `keys init`, `rotate` and `revoke`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealift.errors import BadSignature, UsageError
from sealift.seal import keyfile, keyring
from sealift.seal.keyfile import SigningKey
from sealift.seal.keyring import Role
from sealift.store.files import write_file
from sealift.trust.chain import require_step, step_problems
from sealift.trust.keys import merge_signatures, tally
from sealift.trust.root import Root, SignedRoot, decode_partial_root, root_problems

Phrase = Callable[[Role], bytes]
"""The passphrase for new keys of a role; asked at most once a role."""


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """How many keys `keys init` makes, and how many of each must sign."""

    root: int = 1
    root_threshold: int = 1
    release: int = 1
    release_threshold: int = 1
    officers: int = 0
    officer_threshold: int = 0
    patterns: tuple[str, ...] = ("*",)

    def counts(self) -> dict[Role, int]:
        """Keys by role."""
        return {Role.ROOT: self.root, Role.RELEASE: self.release, Role.OFFICER: self.officers}


def make_keys(folder: Path, plan: KeyPlan, phrase: Phrase) -> SignedRoot:
    """New keys and the first root; root.json is written last, so a folder with one is complete.

    Raises: UsageError: the folder holds keys already, or the plan is no root; nothing is written then.
    """
    names = [*(role.value for role in Role), keyring.ROOTS, keyring.ROOT]
    taken = [name for name in names if (folder / name).exists()]
    if taken:
        raise UsageError(f"{folder} already holds {', '.join(taken)}; keys are never overwritten")
    made = {role: [keyfile.generate() for _ in range(count)] for role, count in plan.counts().items()}
    root = _first_root(made, plan)
    if problems := root_problems(root):
        raise UsageError("these keys make no root", problems=problems)
    phrases = {role: phrase(role) for role, keys in made.items() if keys}
    for role, keys in made.items():
        for key in keys:
            keyring.save_key(folder, role, key, phrases[role])
    signed = SignedRoot(root, merge_signatures((), (key.sign(root.message()) for key in made[Role.ROOT])))
    keyring.write_root(folder, signed)
    return signed


def sign_root(before: Root, partial: SignedRoot, keys: Iterable[SigningKey]) -> SignedRoot:
    """Add the signatures of those keys that are root keys of either version.

    Raises: BadSignature: one that stands there already does not verify, or is a stranger's.
    """
    root = partial.root
    able = {*before.root_keys, *root.root_keys}
    counted = tally(able, {**before.keys, **root.keys}, partial.signatures, root.message())
    strangers = {item.key_id for item in partial.signatures} - able
    if counted.wrong or strangers:
        raise BadSignature(
            f"root version {root.version}: {len(counted.wrong) + len(strangers)} signature(s) on it are "
            "wrong or by keys that may not sign it",
            next_step="begin again: sealift keys rotate DIR --prepare FILE",
        )
    new = [key.sign(root.message()) for key in keys if key.public.key_id in able]
    return SignedRoot(root, merge_signatures(partial.signatures, new))


def lacking(before: Root, signed: SignedRoot) -> tuple[str, ...]:
    """What is missing until the root takes effect; empty: nothing."""
    return step_problems(before, signed)


def activate(folder: Path, before: Root, signed: SignedRoot) -> tuple[Path, ...]:
    """Make a complete root the folder's newest; returns the private keys that were put away.

    Raises: BadSignature, TrustError: the step is not complete.
    """
    require_step(before, signed)
    keyring.write_root(folder, signed)
    return keyring.put_away(folder, before, signed.root)


def read_partial(path: Path, before: Root) -> SignedRoot:
    """A root that travels between the keepers of root keys.

    Raises: UsageError: not there, or not the next version of this folder's root. MalformedBundle.
    """
    try:
        partial = decode_partial_root(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if partial.root.version != before.version + 1:
        raise UsageError(
            f"{path}: root version {partial.root.version}, expected {before.version + 1}: "
            f"the root here is version {before.version}"
        )
    return partial


def write_partial(path: Path, signed: SignedRoot) -> None:
    """Write a root that is signed so far."""
    write_file(path, signed.encode())


def differences(before: Root, after: Root) -> tuple[str, ...]:
    """What a signer of `after` agrees to, one line each, with whole key ids."""
    lines = []
    for role in Role:
        old, new = set(role.ids(before)), set(role.ids(after))
        lines += [f"- {_word(role)} {key_id}" for key_id in sorted(old - new)]
        lines += [f"+ {_word(role)} {key_id}{_may(after, key_id)}" for key_id in sorted(new - old)]
    lines += [
        f"= release key {key_id}{_may(after, key_id)}"
        for key_id in sorted(set(before.release_keys) & set(after.release_keys))
        if before.release_keys[key_id] != after.release_keys[key_id]
    ]
    lines += [f"! revoked for ever: {key_id}" for key_id in sorted(set(after.revoked) - set(before.revoked))]
    lines += [
        f"= {name}: {old} -> {new}"
        for name, old, new in (
            ("root threshold", before.root_threshold, after.root_threshold),
            ("release threshold", before.release_threshold, after.release_threshold),
            ("officer threshold", before.officer_threshold, after.officer_threshold),
        )
        if old != new
    ]
    return tuple(lines)


def _first_root(made: Mapping[Role, list[SigningKey]], plan: KeyPlan) -> Root:
    public = {role: tuple(sorted(key.public.key_id for key in keys)) for role, keys in made.items()}
    return Root(
        version=1,
        keys={key.public.key_id: key.public for keys in made.values() for key in keys},
        root_keys=public[Role.ROOT],
        root_threshold=plan.root_threshold,
        release_keys=dict.fromkeys(public[Role.RELEASE], plan.patterns),
        release_threshold=plan.release_threshold,
        officers=public[Role.OFFICER],
        officer_threshold=plan.officer_threshold,
    )


def _word(role: Role) -> str:
    return {Role.ROOT: "root key", Role.RELEASE: "release key", Role.OFFICER: "officer"}[role]


def _may(root: Root, key_id: str) -> str:
    patterns = root.release_keys.get(key_id)
    return f" for {', '.join(patterns)}" if patterns else ""
