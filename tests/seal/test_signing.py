"""Which key signs what, and what a device's signature must be."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.made_bundles import endorse, make_authority, sign_root

from sealift.errors import BadSignature, RevokedKey, TrustError, UnknownKey, UsageError
from sealift.seal import keyfile, signing
from sealift.seal.keyring import Role
from sealift.seal.signing import Paper
from sealift.trust.rotate import Changes, next_root
from sealift.trust.vouch import Endorsement, Policy, missing

BANK = make_authority(root=(1, 1), release=(2, 2), officers=(1, 2), patterns=("fraud*",))
PAPER = Paper("fraud", b"the release", b"the transport")
NOTHING = Endorsement((), (), ())
ONE, TWO = BANK.release_keys
OFFICER, ANOTHER = BANK.officers


def test_signing_in_turn_completes_the_bundle() -> None:
    present = NOTHING
    for role, key in ((Role.RELEASE, ONE), (Role.OFFICER, OFFICER), (Role.RELEASE, TWO)):
        made = signing.sign_messages(key, PAPER.messages(role))
        assert missing(BANK.root, Policy(), PAPER.product, PAPER.release, PAPER.transport, present)
        present = signing.endorsed(present, role, made)
    assert present == endorse(PAPER.release, PAPER.transport, [ONE, TWO], [OFFICER])
    assert not missing(BANK.root, Policy(), PAPER.product, PAPER.release, PAPER.transport, present)


def test_signing_twice_changes_nothing() -> None:
    made = signing.sign_messages(ONE, PAPER.messages(Role.RELEASE))
    once = signing.endorsed(NOTHING, Role.RELEASE, made)
    assert signing.endorsed(once, Role.RELEASE, made) == once


def test_who_has_signed_counts_only_where_both_documents_are_signed() -> None:
    both = endorse(PAPER.release, PAPER.transport, [ONE, TWO])
    half = Endorsement(both.signatures, (), both.transport_signatures[:1])
    assert signing.signed_by(BANK.root, Role.RELEASE, PAPER, both) == tuple(
        sorted(key.public.key_id for key in (ONE, TWO))
    )
    assert len(signing.signed_by(BANK.root, Role.RELEASE, PAPER, half)) == 1
    assert signing.signed_by(BANK.root, Role.OFFICER, PAPER, both) == ()


@pytest.mark.parametrize(
    ("role", "key", "product", "said"),
    [
        (Role.RELEASE, OFFICER, "fraud", "may not sign fraud under root version 1"),
        (Role.OFFICER, ONE, "fraud", "may not approve fraud under root version 1"),
        (Role.RELEASE, ONE, "vision", r"may not sign vision under root version 1 \(nobody may\)"),
        (Role.RELEASE, keyfile.generate(), "fraud", "may not sign fraud"),
        (Role.OFFICER, BANK.root_keys[0], "fraud", "may not approve fraud"),
    ],
)
def test_a_signature_that_would_not_count_is_not_made(
    role: Role, key: keyfile.SigningKey, product: str, said: str
) -> None:
    with pytest.raises(UnknownKey, match=said):
        signing.require_may_sign(BANK.root, role, product, key.public.key_id)


def test_a_revoked_key_signs_no_more() -> None:
    root = next_root(BANK.root, Changes(revoke=(OFFICER.public.key_id,)))
    with pytest.raises(RevokedKey, match="is revoked by root version 2"):
        signing.require_may_sign(root, Role.OFFICER, "fraud", OFFICER.public.key_id)


KEYS = {Path("1.pem"): ONE, Path("2.pem"): TWO}


def test_the_only_key_that_has_not_signed_is_taken() -> None:
    assert signing.choose_key(KEYS, None, [ONE.public.key_id]) is TWO
    assert signing.choose_key({Path("1.pem"): ONE}, None, [ONE.public.key_id]) is ONE
    assert signing.choose_key(KEYS, ONE.public.key_id, [ONE.public.key_id]) is ONE


@pytest.mark.parametrize("done", [[], [ONE.public.key_id, TWO.public.key_id]])
def test_between_two_people_nobody_chooses_by_guess(done: list[str]) -> None:
    with pytest.raises(UsageError, match="each stands for a person") as caught:
        signing.choose_key(KEYS, None, done)
    assert caught.value.next_step == "name one with --key"
    assert len(caught.value.problems) == 2


def test_a_named_key_that_is_not_here_is_refused() -> None:
    with pytest.raises(UsageError, match="its private half is not here"):
        signing.choose_key(KEYS, OFFICER.public.key_id, [])


Form = Callable[[bytes], bytes]
FORMS: dict[str, Form] = {
    "raw": lambda raw: raw,
    "base64": base64.b64encode,
    "base64 with a line end": lambda raw: base64.b64encode(raw) + b"\r\n",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("role", [Role.RELEASE, Role.OFFICER])
def test_a_device_may_answer_raw_or_in_base64(role: Role, form: str) -> None:
    key = ONE if role is Role.RELEASE else OFFICER
    messages = PAPER.messages(role)
    given = {part: FORMS[form](key.sign(message).signature) for part, message in messages.items()}
    assert signing.foreign_signatures(key.public, messages, given) == signing.sign_messages(key, messages)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"x" * 64,
        b"not base64!",
        OFFICER.sign(b"the release").signature,
        OFFICER.sign(hashlib.sha256(PAPER.messages(Role.OFFICER)["approval"]).digest()).signature,
        OFFICER.sign(PAPER.messages(Role.RELEASE)["release"]).signature,
        ANOTHER.sign(PAPER.messages(Role.OFFICER)["approval"]).signature,
        OFFICER.sign(PAPER.messages(Role.OFFICER)["approval"]).signature.hex().encode(),
        OFFICER.sign(PAPER.messages(Role.OFFICER)["approval"]).signature[:-1],
    ],
    ids=[
        "nothing",
        "noise",
        "text",
        "no context",
        "the digest",
        "another context",
        "another key",
        "hex",
        "short",
    ],
)
def test_anything_else_from_a_device_is_refused(wrong: bytes) -> None:
    messages = PAPER.messages(Role.OFFICER)
    with pytest.raises(BadSignature, match="over the approval bytes does not verify") as caught:
        signing.foreign_signatures(OFFICER.public, messages, {"approval": wrong})
    assert "not its SHA-256" in str(caught.value.next_step)


def test_one_of_a_release_keys_two_signatures_is_not_enough() -> None:
    messages = PAPER.messages(Role.RELEASE)
    release = ONE.sign(messages["release"]).signature
    with pytest.raises(BadSignature, match="over the transport bytes"):
        signing.foreign_signatures(ONE.public, messages, {"release": release, "transport": release})


SECOND = sign_root(next_root(BANK.root, Changes(officer_threshold=2)), BANK.root_keys)
THIRD = sign_root(next_root(SECOND.root, Changes(officer_threshold=1)), BANK.root_keys)


def test_the_roots_of_keys_and_bundle_become_one_chain() -> None:
    assert signing.all_roots([BANK.signed, SECOND], []) == (BANK.signed, SECOND)
    assert signing.all_roots([BANK.signed], [BANK.signed, SECOND]) == (BANK.signed, SECOND)
    assert signing.all_roots([SECOND, THIRD], [BANK.signed]) == (BANK.signed, SECOND, THIRD)


def test_roots_of_two_authorities_are_refused() -> None:
    with pytest.raises(TrustError, match="no chain of signatures"):
        signing.all_roots([BANK.signed], [make_authority().signed])
    other = make_authority()
    strange = sign_root(next_root(other.root, Changes(add_root=(ONE.public,))), [*other.root_keys, ONE])
    with pytest.raises(BadSignature):
        signing.all_roots([BANK.signed], [strange])


def test_roots_with_a_gap_are_refused() -> None:
    with pytest.raises(TrustError, match="version 2 is missing"):
        signing.all_roots([THIRD], [BANK.signed])
