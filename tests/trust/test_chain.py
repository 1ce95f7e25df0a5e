"""From the pinned root to the newest: every step is signed by both sides, and nothing is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.made_bundles import Authority, make_authority, sign_root

from sealift.errors import BadSignature, TrustError
from sealift.seal import keyfile
from sealift.seal.keyfile import SigningKey
from sealift.trust.chain import follow, leads, require_step
from sealift.trust.root import Root, SignedRoot
from sealift.trust.rotate import Changes, next_root

FIRST = make_authority(root=(2, 3), release=(1, 1))


def new_release_key() -> Changes:
    return Changes(add_release={keyfile.generate().public: ("*",)})


def chain(length: int, start: Authority = FIRST) -> list[SignedRoot]:
    """Roots 1..length: one release key more each time, signed by the same root keys."""
    roots = [start.signed]
    while len(roots) < length:
        roots.append(sign_root(next_root(roots[-1].root, new_release_key()), start.root_keys))
    return roots


ROOTS = chain(4)


def other_chain(length: int) -> list[SignedRoot]:
    return chain(length, make_authority(root=(2, 3)))


@pytest.mark.parametrize("pinned", range(4))
def test_the_newest_root_is_reached_from_any_pinned_one(pinned: int) -> None:
    assert follow(ROOTS[pinned].root, ROOTS) is ROOTS[3].root
    assert follow(ROOTS[pinned].root, ROOTS[::-1]) is ROOTS[3].root
    assert follow(ROOTS[pinned].root, ROOTS[pinned + 1 :]).version == 4


def test_without_newer_roots_the_pinned_one_stays() -> None:
    assert follow(ROOTS[3].root, ROOTS[:2]) is ROOTS[3].root
    assert follow(ROOTS[0].root, []) is ROOTS[0].root


def test_a_gap_on_the_way_is_refused_and_named() -> None:
    with pytest.raises(TrustError, match="version 2 is missing between them") as caught:
        follow(ROOTS[0].root, [ROOTS[0], ROOTS[2], ROOTS[3]])
    assert caught.value.exit_code == 20


def test_a_gap_in_history_does_no_harm() -> None:
    assert follow(ROOTS[3].root, [ROOTS[0], ROOTS[2], ROOTS[3]]).version == 4


def test_another_root_of_the_pinned_version_is_refused() -> None:
    with pytest.raises(
        TrustError, match=r"this prefix trusts root .* no chain of signatures leads"
    ) as caught:
        follow(ROOTS[0].root, other_chain(1))
    assert caught.value.exit_code == 20
    assert "sealift trust replace" in str(caught.value.next_step)


def test_another_authoritys_next_root_is_refused() -> None:
    with pytest.raises(BadSignature, match="signed by 0 of the 3 root keys of version 1, 2 are needed"):
        follow(ROOTS[0].root, other_chain(2)[1:])


def test_two_roots_of_one_version_are_refused() -> None:
    with pytest.raises(TrustError, match="two roots of version 3"):
        follow(ROOTS[0].root, [*ROOTS, chain(3)[2]])


def test_another_authoritys_history_is_no_step_to_the_pinned_root() -> None:
    with pytest.raises(TrustError):
        follow(ROOTS[1].root, [other_chain(1)[0], ROOTS[1], ROOTS[2]])


def keys_changed() -> tuple[Root, Root, tuple[SigningKey, ...], tuple[SigningKey, ...]]:
    """Root 2 replaces two of three root keys; (old root, new root, all old keys, the new keys)."""
    new = (keyfile.generate(), keyfile.generate())
    changes = Changes(
        remove=tuple(key.public.key_id for key in FIRST.root_keys[:2]),
        add_root=tuple(key.public for key in new),
    )
    return FIRST.root, next_root(FIRST.root, changes), FIRST.root_keys, new


def test_new_root_keys_need_both_thresholds() -> None:
    old, root, old_keys, new_keys = keys_changed()
    require_step(old, sign_root(root, [*old_keys[:2], *new_keys]))
    require_step(old, sign_root(root, [old_keys[0], old_keys[2], new_keys[0]]))


def test_a_rotation_that_only_the_old_keys_signed_is_refused() -> None:
    old, root, old_keys, _ = keys_changed()
    with pytest.raises(BadSignature, match="signed by 1 of the 3 root keys of version 2, 2 are needed"):
        require_step(old, sign_root(root, old_keys))


def test_a_rotation_that_only_the_new_keys_signed_is_refused() -> None:
    old, root, _, new_keys = keys_changed()
    with pytest.raises(BadSignature, match="signed by 0 of the 3 root keys of version 1, 2 are needed"):
        require_step(old, sign_root(root, new_keys))


def test_too_few_on_both_sides_are_both_said() -> None:
    old, root, old_keys, _ = keys_changed()
    with pytest.raises(BadSignature) as caught:
        require_step(old, sign_root(root, old_keys[:1]))
    assert "version 1" in caught.value.message
    assert any("version 2" in problem for problem in caught.value.problems)


def test_a_wrong_signature_is_refused_even_beside_enough_good_ones() -> None:
    good = ROOTS[1].signatures
    spoiled = SignedRoot(ROOTS[1].root, (*good[:2], replace(good[2], signature=good[0].signature)))
    with pytest.raises(BadSignature, match="is wrong"):
        follow(ROOTS[0].root, [spoiled])


def test_the_wrong_signature_of_an_old_key_is_seen_though_the_new_root_does_not_list_it() -> None:
    old, root, old_keys, new_keys = keys_changed()
    signed = sign_root(root, [*old_keys, *new_keys])
    gone = old_keys[0].public.key_id
    spoiled = tuple(
        replace(one, signature=b"\0" * 64) if one.key_id == gone else one for one in signed.signatures
    )
    with pytest.raises(BadSignature, match="is wrong"):
        follow(old, [SignedRoot(root, spoiled)])
    with pytest.raises(BadSignature, match="is wrong"):
        follow(root, [FIRST.signed, SignedRoot(root, spoiled)])


def test_a_stranger_may_not_sign_a_step() -> None:
    signed = sign_root(ROOTS[1].root, [*FIRST.root_keys, keyfile.generate()])
    with pytest.raises(BadSignature, match="signed it and may not"):
        follow(ROOTS[0].root, [signed])


def test_release_keys_and_officers_cannot_make_a_root() -> None:
    first = make_authority(root=(1, 1), release=(1, 2), officers=(1, 2))
    root = next_root(first.root, new_release_key())
    with pytest.raises(BadSignature):
        follow(first.root, [sign_root(root, [*first.release_keys, *first.officers])])


def test_a_root_that_forgets_a_revocation_is_refused() -> None:
    gone = FIRST.release_keys[0].public.key_id
    second = next_root(FIRST.root, Changes(revoke=(gone,), add_release={keyfile.generate().public: ("*",)}))
    third = replace(second, version=3, revoked=())
    with pytest.raises(TrustError, match=r"forgets that sha256:.* is revoked"):
        follow(second, [sign_root(third, FIRST.root_keys)])


def test_a_skipped_version_number_is_no_step() -> None:
    jump = replace(ROOTS[1].root, version=3)
    with pytest.raises(TrustError, match="version 2 is missing"):
        follow(ROOTS[0].root, [sign_root(jump, FIRST.root_keys)])


def test_leads_says_whether_one_root_becomes_another() -> None:
    assert leads(ROOTS[0].root, ROOTS[3], ROOTS)
    assert leads(ROOTS[0].root, ROOTS[1], [])
    assert leads(ROOTS[2].root, ROOTS[2], [])
    assert not leads(ROOTS[0].root, ROOTS[3], [])
    assert not leads(ROOTS[0].root, other_chain(1)[0], ROOTS)
    assert not leads(ROOTS[0].root, other_chain(3)[2], other_chain(3))


POOL = [keyfile.generate() for _ in range(5)]


@settings(max_examples=150, deadline=None)
@given(
    old=st.sets(st.integers(0, 4), min_size=1),
    new=st.sets(st.integers(0, 4), min_size=1),
    signers=st.sets(st.integers(0, 4)),
    data=st.data(),
)
def test_a_step_holds_exactly_where_a_naive_count_says_so(
    old: set[int], new: set[int], signers: set[int], data: st.DataObject
) -> None:
    thresholds = [data.draw(st.integers(1, len(side))) for side in (old, new)]
    roots = [
        _root_of(version, side, threshold)
        for version, side, threshold in zip((1, 2), (old, new), thresholds, strict=True)
    ]
    signed = sign_root(roots[1], [POOL[number] for number in signers])
    naive = (
        len(signers & old) >= thresholds[0] and len(signers & new) >= thresholds[1] and signers <= old | new
    )
    assert leads(roots[0], signed, []) is naive


def _root_of(version: int, members: set[int], threshold: int) -> Root:
    keys = {POOL[number].public.key_id: POOL[number].public for number in members}
    release = FIRST.release_keys[0].public
    return Root(
        version,
        {**keys, release.key_id: release},
        tuple(sorted(keys)),
        threshold,
        {release.key_id: ("*",)},
        1,
    )
