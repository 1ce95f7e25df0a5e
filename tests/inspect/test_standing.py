"""Who vouches, told before the last signature is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.inspect.desk import House, house, key, opened, pack_release, sign

from sealift.bundle.write import rewrite_signatures
from sealift.errors import BadSignature
from sealift.inspect.standing import NO_ROOT, Standing, standing_of
from sealift.trust.keys import RELEASE_CONTEXT, TRANSPORT_CONTEXT
from sealift.trust.root import Root, SignedRoot
from sealift.trust.vouch import Policy


def standing(place: Path, signers: House, *, officers: int = 0) -> Standing:
    return standing_of(opened(place), signers.signed.root, Policy(officers))


def bundle_of(tmp_path: Path, signers: House | None, *, approved_by: int = 0) -> Path:
    return pack_release(tmp_path / "b.sealift", signers, approved_by=approved_by)


def test_enough_signatures_verify(tmp_path: Path) -> None:
    signers = house(releases=2, officers=2, officer_threshold=1)
    found = standing(bundle_of(tmp_path, signers, approved_by=1), signers)
    assert found.verified
    assert (found.release_threshold, found.officer_threshold) == (2, 1)
    assert {signer.objection for signer in (*found.signers, *found.approvers)} == {""}
    assert found.fingerprint == signers.signed.root.fingerprint


def test_without_a_root_nobody_vouches_whatever_the_bundle_brings(tmp_path: Path) -> None:
    found = standing_of(opened(bundle_of(tmp_path, house())), None, Policy())
    assert not found.verified
    assert found.missing == (NO_ROOT,)
    assert [signer.objection for signer in found.signers] == ["not checked"]


def test_an_unsigned_bundle_says_who_must_sign(tmp_path: Path) -> None:
    signers = house()
    found = standing(bundle_of(tmp_path, None), signers)
    assert not found.verified
    assert found.signers == ()
    assert any(
        ("fraud" in sentence and "nobody" in sentence) or "not signed" in sentence
        for sentence in found.missing
    )


def test_one_of_two_release_keys_is_not_enough(tmp_path: Path) -> None:
    signers = house(releases=2)
    place = bundle_of(tmp_path, signers)
    sign(place, signers, releases=1)
    found = standing(place, signers)
    assert not found.verified
    assert [signer.objection for signer in found.signers] == [""]
    assert len(found.missing) == 2  # release.json and transport.json


def test_a_missing_officer_is_missing_from_the_root_or_from_the_box(tmp_path: Path) -> None:
    signers = house(officers=2)
    place = bundle_of(tmp_path, signers, approved_by=1)
    assert standing(place, signers).verified
    assert standing(place, signers, officers=1).verified
    asked = standing(place, signers, officers=2)
    assert not asked.verified
    assert asked.officer_threshold == 2
    assert any("approv" in sentence for sentence in asked.missing)


def test_a_key_for_other_products_does_not_count(tmp_path: Path) -> None:
    signers = house(patterns=("credit*",))
    found = standing(bundle_of(tmp_path, signers), signers)
    assert not found.verified
    assert [signer.objection for signer in found.signers] == ["may not sign this product"]


def test_a_stranger_does_not_count(tmp_path: Path) -> None:
    found = standing_of(opened(bundle_of(tmp_path, house(name="mallory"))), house().signed.root, Policy())
    assert not found.verified
    assert any("no chain of signatures leads" in sentence for sentence in found.missing)
    assert [signer.objection for signer in found.signers] == ["no release key of this root"]


def test_a_revoked_key_is_called_revoked(tmp_path: Path) -> None:
    signers = house()
    place = bundle_of(tmp_path, signers)
    old, fresh = signers.release[0].public, key("fresh").public
    root = replace(
        signers.signed.root,
        version=2,
        keys={signers.root_key.public.key_id: signers.root_key.public, fresh.key_id: fresh},
        release_keys={fresh.key_id: ("*",)},
        revoked=(old.key_id,),
    )
    found = standing_of(opened(place), root, Policy())
    assert not found.verified
    assert [signer.objection for signer in found.signers] == ["revoked"]
    assert any("revoked" in sentence for sentence in found.missing)


def test_a_root_that_travels_leads_on_from_the_trusted_one(tmp_path: Path) -> None:
    signers = house()
    newer = key("newer release")
    second = Root(
        version=2,
        keys={item.public.key_id: item.public for item in (signers.root_key, newer)},
        root_keys=(signers.root_key.public.key_id,),
        root_threshold=1,
        release_keys={newer.public.key_id: ("*",)},
        release_threshold=1,
    )
    signed = SignedRoot(second, (signers.root_key.sign(second.message()),))
    place = bundle_of(tmp_path, None)
    bundle = opened(place)
    rewrite_signatures(
        place,
        (newer.sign(RELEASE_CONTEXT + bundle.release.encode()),),
        (),
        (newer.sign(TRANSPORT_CONTEXT + bundle.transport),),
        (signers.signed, signed),
    )
    found = standing_of(opened(place), signers.signed.root, Policy())
    assert found.verified
    assert found.root_version == 2


@pytest.mark.parametrize("which", ["release", "transport"])
def test_a_known_key_with_a_wrong_signature_is_no_page_but_a_refusal(tmp_path: Path, which: str) -> None:
    signers = house()
    place = bundle_of(tmp_path, signers)
    bundle = opened(place)
    messages = {
        "release": RELEASE_CONTEXT + bundle.release.encode(),
        "transport": TRANSPORT_CONTEXT + bundle.transport,
    }
    messages[which] += b" "
    made = {name: (signers.release[0].sign(message),) for name, message in messages.items()}
    rewrite_signatures(place, made["release"], (), made["transport"], (signers.signed,))
    with pytest.raises(BadSignature, match="does not verify"):
        standing(place, signers)
