"""Each rule of trust is switched off in turn, in a copy of the code, and the attack that it stops gets through.

So no rule stands without a test that needs it. The honest cases pass with and without every rule.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.made_bundles import endorse, make_authority, sign_root

import sealift.trust
from sealift import canonical
from sealift.errors import SealiftError
from sealift.seal import keyfile
from sealift.trust.keys import APPROVAL_CONTEXT, RELEASE_CONTEXT, Signature
from sealift.trust.root import Root, SignedRoot
from sealift.trust.rotate import Changes, next_root

FOLDER = Path(sealift.trust.__file__).parent
FILES = ("keys", "root", "chain", "vouch")
RELEASE, TRANSPORT = b"the release", b"the transport"


@dataclass(frozen=True)
class Trust:
    """One copy of the four files, perhaps with a rule switched off."""

    root: Any
    chain: Any
    vouch: Any


def load(file: str = "", rule: str = "", instead: str = "") -> Trust:
    names = [f"sealift.trust.{name}" for name in FILES]
    kept = {name: sys.modules[name] for name in names}
    try:
        for name, short in zip(names, FILES, strict=True):
            text = (FOLDER / f"{short}.py").read_text()
            if short == file:
                assert text.count(rule) == 1, f"{file}.py holds {rule!r} {text.count(rule)} times"
                text = text.replace(rule, instead)
            module = ModuleType(name)
            sys.modules[name] = module
            exec(compile(text, f"{short}.py", "exec"), module.__dict__)
        made = [sys.modules[name] for name in names]
    finally:
        sys.modules.update(kept)
    return Trust(*made[1:])


BANK = make_authority(root=(2, 3), release=(2, 3), officers=(1, 2), patterns=("fraud*",))
FIRST, SIGNERS, OFFICERS = BANK.root, BANK.release_keys, BANK.officers
NEW, STRANGER = keyfile.generate(), keyfile.generate()
FULL = endorse(RELEASE, TRANSPORT, SIGNERS, OFFICERS)
SECOND = next_root(FIRST, Changes(revoke=(FIRST.officers[0],), add_root=(NEW.public,)))
SIGNED_SECOND = sign_root(SECOND, [*BANK.root_keys, NEW])


def decode(trust: Trust, signed: SignedRoot) -> Any:
    return trust.root.decode_root(signed.encode())


def follow(trust: Trust, pinned: Root, *offered: SignedRoot) -> Any:
    """Through the bytes, so that every value is of the copy's own types."""
    start = trust.root.decode_partial_root(SignedRoot(pinned, ()).encode(), "pinned").root
    reader = trust.root.decode_partial_root
    return trust.chain.follow(start, [reader(signed.encode(), "offered") for signed in offered])


def judge(trust: Trust, made: Any = FULL, root: Root = FIRST, product: str = "fraud", policy: int = 0) -> Any:
    own = trust.root.decode_partial_root(SignedRoot(root, ()).encode(), "root").root
    asked = trust.vouch.Policy(policy)
    return trust.vouch.vouch(own, asked, product, RELEASE, TRANSPORT, made)


def form(root: Root) -> Callable[[Trust], Any]:
    """A root whose form is wrong, signed by all its root keys."""
    signed = sign_root(root, BANK.root_keys)
    return lambda trust: decode(trust, signed)


def spoiled(signatures: tuple[Signature, ...], which: int = 0) -> tuple[Signature, ...]:
    wrong = replace(signatures[which], signature=b"\0" * 64)
    return (*signatures[:which], wrong, *signatures[which + 1 :])


def without(signed: SignedRoot, *key_ids: str) -> SignedRoot:
    return SignedRoot(signed.root, tuple(one for one in signed.signatures if one.key_id not in key_ids))


def context_of_a_release() -> Any:
    """An officer was talked into signing the release with the release's own context."""
    made = [key.sign(RELEASE_CONTEXT + RELEASE) for key in OFFICERS]
    return replace(FULL, approvals=tuple(sorted(made, key=lambda one: one.key_id)))


def approvals_as_signatures() -> Any:
    """The release keys signed with the officers' context only."""
    made = [key.sign(APPROVAL_CONTEXT + RELEASE) for key in SIGNERS]
    return replace(FULL, signatures=tuple(sorted(made, key=lambda one: one.key_id)))


def with_officer_key_as_release_key() -> Root:
    return replace(FIRST, officers=tuple(sorted([*FIRST.officers, *sorted(FIRST.release_keys)[:1]])))


OLD_ROOT_KEYS = FIRST.root_keys
REPLACED = next_root(FIRST, Changes(remove=OLD_ROOT_KEYS, add_root=(NEW.public, STRANGER.public)))

RULES: dict[str, tuple[str, str, str, Callable[[Trust], Any]]] = {
    "a root is signed by its own threshold": (
        "root", "if len(own.good) < root.root_threshold:", "if False:",
        lambda t: decode(t, sign_root(FIRST, BANK.root_keys[:1])),
    ),
    "a root key's wrong signature": (
        "root", "if own.wrong:", "if False:",
        lambda t: decode(t, SignedRoot(replace(FIRST, version=2), spoiled(
            sign_root(replace(FIRST, version=2), BANK.root_keys).signatures))),
    ),
    "a stranger on the first root": (
        "root", "if root.version == 1 and len(own.good) != len(signed.signatures):", "if False:",
        lambda t: decode(t, sign_root(FIRST, [*BANK.root_keys, STRANGER])),
    ),
    "one role a key": (
        "root", "if len(named) != len(set(named)):", "if False:", form(with_officer_key_as_release_key()),
    ),
    "every key has a role": (
        "root", "if set(named) != set(root.keys):", "if False:",
        form(replace(FIRST, keys={**FIRST.keys, STRANGER.public.key_id: STRANGER.public})),
    ),
    "a revoked key has no role": (
        "root", "if set(root.revoked) & set(root.keys):", "if False:",
        form(replace(FIRST, revoked=(FIRST.officers[0],))),
    ),
    "a threshold of the keys there are": (
        "root", "if not least <= threshold <= len(ids)", "if False",
        form(replace(FIRST, officer_threshold=3)),
    ),
    "patterns are plain": (
        "root", "if not _PATTERN.fullmatch(pattern)", "if False",
        form(replace(FIRST, release_keys=dict.fromkeys(FIRST.release_keys, ("[a-z]*",)))),
    ),
    "a key stands under its own id": (
        "root", "if any(key.key_id != key_id for key_id, key in keys.items()):", "if False:",
        form(replace(FIRST, keys={**FIRST.keys, FIRST.officers[0]: STRANGER.public})),
    ),
    "an algorithm that is known": (
        "keys", "if not isinstance(name, str) or name not in ALGORITHMS:", 'name = "ed25519"\n    if False:',
        lambda t: t.root.signatures_from_json([{**FULL.signatures[0].to_json(), "alg": "sm2"}], "x"),
    ),
    "signatures are checked": (
        "keys", "holds = item.alg == key.alg and key.verifies(item.signature, message)", "holds = True",
        lambda t: judge(t, replace(FULL, signatures=spoiled(FULL.signatures))),
    ),
    "only permitted keys are counted": (
        "keys", "if item.key_id in permitted:", "if item.key_id in keys:",
        lambda t: decode(t, sign_root(FIRST, [BANK.root_keys[0], SIGNERS[0]])),
    ),
    "two of one version": (
        "chain", "if before is not None and root.version == before.version:", "if False:",
        lambda t: follow(t, SECOND, SIGNED_SECOND, SIGNED_SECOND),
    ),
    "the pinned version's own root": (
        "chain", "if root.version == pinned.version and root.fingerprint != pinned.fingerprint:", "if False:",
        lambda t: follow(t, FIRST, make_authority().signed),
    ),
    "no version left out": (
        "chain", "if root.version != newest.version + 1:", "if False:",
        lambda t: follow(t, FIRST, sign_root(replace(SECOND, version=3), [*BANK.root_keys, NEW])),
    ),
    "the step's signatures, on the way": (
        "chain", "            require_step(newest, signed)\n", "",
        lambda t: follow(t, FIRST, sign_root(REPLACED, [NEW, STRANGER])),
    ),
    "the step's signatures, in history": (
        "chain", "            require_step(before, signed)\n", "            pass\n",
        lambda t: follow(t, SECOND, BANK.signed, without(SIGNED_SECOND, *OLD_ROOT_KEYS)),
    ),
    "the old threshold": (
        "chain", "for root in (old, new):", "for root in (new,):",
        lambda t: follow(t, FIRST, sign_root(REPLACED, [NEW, STRANGER])),
    ),
    "the new threshold": (
        "chain", "for root in (old, new):", "for root in (old,):",
        lambda t: follow(t, FIRST, sign_root(REPLACED, BANK.root_keys)),
    ),
    "no stranger on a step": (
        "chain", "for key_id in strangers]", "for key_id in ()]",
        lambda t: follow(t, FIRST, sign_root(SECOND, [*BANK.root_keys, NEW, STRANGER])),
    ),
    "no wrong signature on a step": (
        "chain", "for key_id in counted.wrong]", "for key_id in ()]",
        lambda t: follow(t, FIRST, SignedRoot(SECOND, spoiled(SIGNED_SECOND.signatures))),
    ),
    "a revocation is for ever": (
        "chain", "    if forgotten:", "    if False:",
        lambda t: follow(t, SECOND, sign_root(replace(SECOND, version=3, revoked=()), [*BANK.root_keys, NEW])),
    ),
    "enough signatures": (
        "vouch", "if len(self.counted) < self.needed:", "if False:",
        lambda t: judge(t, endorse(RELEASE, TRANSPORT, SIGNERS[:1], OFFICERS)),
    ),
    "products by pattern": (
        "vouch", "may_sign = root.may_sign(product)", "may_sign = tuple(root.release_keys)",
        lambda t: judge(t, product="vision"),
    ),
    "the root's release threshold": (
        "vouch", "needed=root.release_threshold,", "needed=1,",
        lambda t: judge(t, endorse(RELEASE, TRANSPORT, SIGNERS[:1], OFFICERS)),
    ),
    "the root's officers": (
        "vouch", "max(root.officer_threshold, policy.officers)", "policy.officers",
        lambda t: judge(t, endorse(RELEASE, TRANSPORT, SIGNERS)),
    ),
    "the box's officers": (
        "vouch", "max(root.officer_threshold, policy.officers)", "root.officer_threshold",
        lambda t: judge(t, endorse(RELEASE, TRANSPORT, SIGNERS, OFFICERS[:1]), policy=2),
    ),
    "a wrong signature is refused beside good ones": (
        "vouch", "for key_id in self.checked.wrong", "for key_id in ()",
        lambda t: judge(t, replace(FULL, signatures=spoiled(FULL.signatures, 2))),
    ),
    "the context of an approval": (
        "vouch", "APPROVAL_CONTEXT + release", "RELEASE_CONTEXT + release",
        lambda t: judge(t, context_of_a_release()),
    ),
    "the context of a release": (
        "vouch", "RELEASE_CONTEXT + release)", "APPROVAL_CONTEXT + release)",
        lambda t: judge(t, approvals_as_signatures()),
    ),
    "the transport is what was signed": (
        "vouch", "TRANSPORT_CONTEXT + transport", "RELEASE_CONTEXT + release",
        lambda t: judge(t, replace(FULL, transport_signatures=FULL.signatures)),
    ),
}  # fmt: skip


def is_refused(attack: Callable[[Trust], Any], trust: Trust) -> bool:
    try:
        attack(trust)
    except SealiftError:
        return True
    return False


AS_IT_IS = load()


def test_the_honest_cases_pass() -> None:
    assert decode(AS_IT_IS, BANK.signed).root.version == 1
    assert follow(AS_IT_IS, FIRST, BANK.signed, SIGNED_SECOND).version == 2
    assert len(judge(AS_IT_IS, policy=2).officers) == 2
    assert canonical.encode(judge(AS_IT_IS).release_keys) == canonical.encode(sorted(FIRST.release_keys))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_stops_its_attack_and_nothing_else_does(name: str) -> None:
    file, rule, instead, attack = RULES[name]
    assert is_refused(attack, AS_IT_IS), f"{name}: got through with every rule in place"
    assert not is_refused(attack, load(file, rule, instead)), f"{name}: is stopped without the rule, too"
