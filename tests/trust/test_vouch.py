"""Release keys sign, officers approve, root and box say how many: nothing else counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.made_bundles import endorse, make_authority

from sealift.errors import BadSignature, NotApproved, RevokedKey, TrustError, UnknownKey
from sealift.seal import keyfile
from sealift.seal.keyfile import SigningKey
from sealift.trust.keys import APPROVAL_CONTEXT, RELEASE_CONTEXT, ROOT_CONTEXT, TRANSPORT_CONTEXT
from sealift.trust.root import Root
from sealift.trust.rotate import Changes, next_root
from sealift.trust.vouch import Endorsement, Policy, Vouched, missing, vouch

RELEASE, TRANSPORT = b"the release", b"the transport"
NOBODY = Endorsement((), (), ())
BANK = make_authority(release=(2, 3), officers=(1, 2), patterns=("fraud*",))
SIGNERS, OFFICERS = BANK.release_keys, BANK.officers
FULL = endorse(RELEASE, TRANSPORT, SIGNERS[:2], OFFICERS[:1])


def decide(
    endorsement: Endorsement,
    *,
    root: Root = BANK.root,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    product: str = "fraud",
    release: bytes = RELEASE,
    transport: bytes = TRANSPORT,
) -> Vouched:
    """As `vouch`; also sees that `missing` agrees."""
    arguments = (root, policy, product, release, transport, endorsement)
    lacks = missing(*arguments)
    if lacks:
        with pytest.raises(TrustError) as caught:
            vouch(*arguments)
        assert set(lacks) == {caught.value.message, *caught.value.problems}
        assert caught.value.next_step
        raise caught.value
    return vouch(*arguments)


def ids(*keys: SigningKey) -> tuple[str, ...]:
    return tuple(sorted(key.public.key_id for key in keys))


def test_enough_release_keys_and_officers_vouch_and_are_named() -> None:
    assert decide(FULL) == Vouched(ids(*SIGNERS[:2]), ids(OFFICERS[0]))


def test_all_of_them_are_named_where_more_than_needed_signed() -> None:
    vouched = decide(endorse(RELEASE, TRANSPORT, SIGNERS, OFFICERS))
    assert vouched == Vouched(ids(*SIGNERS), ids(*OFFICERS))


def test_an_unsigned_bundle_is_refused_with_everything_that_is_missing() -> None:
    with pytest.raises(
        UnknownKey, match="fraud: not signed by anybody; 2 must; missing: 2 of sha256:"
    ) as caught:
        decide(NOBODY)
    assert len(caught.value.problems) == 2
    assert any("not approved by anybody; 1 must" in problem for problem in caught.value.problems)


def test_one_release_key_of_two_is_too_few() -> None:
    with pytest.raises(
        UnknownKey, match="1 of them may sign fraud under the trusted root, 2 must; missing: 1 of"
    ):
        decide(endorse(RELEASE, TRANSPORT, SIGNERS[:1], OFFICERS))


def test_the_release_alone_is_not_enough_transport_must_be_signed_too() -> None:
    with pytest.raises(UnknownKey, match=r"transport\.json: not signed by anybody"):
        decide(replace(FULL, transport_signatures=()))


def test_the_transport_alone_is_not_enough() -> None:
    with pytest.raises(UnknownKey, match="fraud: not signed by anybody"):
        decide(replace(FULL, signatures=()))


def test_enough_keys_on_the_release_do_not_help_too_few_on_the_transport() -> None:
    one = endorse(RELEASE, TRANSPORT, SIGNERS[:1])
    with pytest.raises(UnknownKey, match=r"transport\.json: .*1 of them may"):
        decide(replace(FULL, transport_signatures=one.transport_signatures))


def test_a_missing_approval_has_its_own_exit_code() -> None:
    with pytest.raises(NotApproved, match="fraud: not approved by anybody; 1 must") as caught:
        decide(replace(FULL, approvals=()))
    assert caught.value.exit_code == 27
    assert "--as officer" in str(caught.value.next_step)


def test_the_box_may_ask_for_more_officers_than_the_root() -> None:
    both = decide(endorse(RELEASE, TRANSPORT, SIGNERS, OFFICERS), policy=Policy(2))
    assert both.officers == ids(*OFFICERS)
    with pytest.raises(NotApproved, match=r"1 of them may approve fraud .* 2 must \(this box's own policy\)"):
        decide(FULL, policy=Policy(2))


def test_the_box_cannot_ask_for_fewer_officers_than_the_root() -> None:
    with pytest.raises(NotApproved):
        decide(replace(FULL, approvals=()), policy=Policy(0))


def test_a_box_that_asks_for_more_officers_than_there_are_is_told_so() -> None:
    with pytest.raises(
        NotApproved, match=r"3 must \(this box's own policy\); missing: the root names nobody"
    ):
        decide(endorse(RELEASE, TRANSPORT, SIGNERS, OFFICERS), policy=Policy(3))


def test_a_box_policy_holds_also_where_the_root_asks_for_none() -> None:
    root = replace(BANK.root, officer_threshold=0)
    assert decide(replace(FULL, approvals=()), root=root).officers == ()
    with pytest.raises(NotApproved):
        decide(replace(FULL, approvals=()), root=root, policy=Policy(1))


def test_an_officer_is_no_release_key_and_a_release_key_no_officer() -> None:
    with pytest.raises(UnknownKey):
        decide(endorse(RELEASE, TRANSPORT, OFFICERS, OFFICERS))
    with pytest.raises(NotApproved):
        decide(endorse(RELEASE, TRANSPORT, SIGNERS, SIGNERS))


def test_a_root_key_signs_no_release() -> None:
    with pytest.raises(UnknownKey, match="0 of them may sign fraud"):
        decide(endorse(RELEASE, TRANSPORT, BANK.root_keys, OFFICERS))


def test_a_release_key_for_other_products_does_not_count() -> None:
    with pytest.raises(UnknownKey, match="0 of them may sign vision under the trusted root, 2 must"):
        decide(FULL, product="vision")


def test_officers_approve_every_product() -> None:
    bank = make_authority(release=(1, 1), officers=(1, 1), patterns=("fraud*", "vision"))
    made = endorse(RELEASE, TRANSPORT, bank.release_keys, bank.officers)
    assert decide(made, root=bank.root, product="vision").officers == ids(*bank.officers)


@pytest.mark.parametrize("document", ["release", "transport"])
def test_a_signature_over_another_document_is_refused(document: str) -> None:
    with pytest.raises(BadSignature, match="does not verify") as caught:
        decide(FULL, **{document: b"another"})  # type: ignore[arg-type]
    assert caught.value.exit_code == 21


def test_a_wrong_signature_is_refused_even_where_enough_others_signed() -> None:
    more = endorse(RELEASE, TRANSPORT, SIGNERS, OFFICERS)
    spoiled = (*more.signatures[:2], replace(more.signatures[2], signature=b"\0" * 64))
    with pytest.raises(BadSignature, match="fraud: the signature of sha256:"):
        decide(replace(more, signatures=spoiled))


def test_a_wrong_approval_is_refused_even_where_none_is_asked() -> None:
    root = replace(BANK.root, officer_threshold=0)
    spoiled = (replace(FULL.approvals[0], signature=b"\0" * 64),)
    with pytest.raises(BadSignature):
        decide(replace(FULL, approvals=spoiled), root=root)


def test_a_wrong_signature_weighs_more_than_a_missing_one() -> None:
    spoiled = (replace(FULL.signatures[0], signature=b"\0" * 64),)
    with pytest.raises(BadSignature) as caught:
        decide(Endorsement(spoiled, (), ()))
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    "context", [b"", APPROVAL_CONTEXT, TRANSPORT_CONTEXT, ROOT_CONTEXT, b"sealift release v2\n"]
)
def test_a_release_signature_of_another_context_never_counts(context: bytes) -> None:
    signatures = tuple(sorted((k.sign(context + RELEASE) for k in SIGNERS), key=lambda one: one.key_id))
    with pytest.raises(BadSignature):
        decide(replace(FULL, signatures=signatures))


@pytest.mark.parametrize("context", [b"", RELEASE_CONTEXT, TRANSPORT_CONTEXT, ROOT_CONTEXT])
def test_an_approval_of_another_context_never_counts(context: bytes) -> None:
    approvals = tuple(sorted((k.sign(context + RELEASE) for k in OFFICERS), key=lambda one: one.key_id))
    with pytest.raises(BadSignature):
        decide(replace(FULL, approvals=approvals))


def test_approvals_moved_into_the_signatures_do_not_count_there() -> None:
    with pytest.raises(UnknownKey):
        decide(replace(FULL, signatures=FULL.approvals))


def test_a_stranger_beside_enough_signatures_does_no_harm() -> None:
    stranger = keyfile.generate()
    made = endorse(RELEASE, TRANSPORT, [*SIGNERS[:2], stranger], [OFFICERS[0], stranger])
    assert decide(made) == decide(FULL)


def test_strangers_alone_are_named() -> None:
    stranger = keyfile.generate()
    with pytest.raises(UnknownKey, match=f"signed by sha256:{stranger.public.key_id[:4]}-.*; 0 of them may"):
        decide(endorse(RELEASE, TRANSPORT, [stranger], OFFICERS))


@dataclass(frozen=True)
class Revoked:
    root: Root
    new: SigningKey


@pytest.fixture
def after_theft() -> Revoked:
    """The next root: the first release key and the first officer are revoked, one new of each."""
    new, officer = keyfile.generate(), keyfile.generate()
    changes = Changes(
        revoke=(*ids(SIGNERS[0]), *ids(OFFICERS[0])),
        add_release={new.public: ("fraud*",)},
        add_officers=(officer.public,),
    )
    return Revoked(next_root(BANK.root, changes), new)


def test_a_revoked_release_key_has_its_own_message_and_exit_code(after_theft: Revoked) -> None:
    with pytest.raises(RevokedKey, match="is revoked, its signature counts no more") as caught:
        decide(endorse(RELEASE, TRANSPORT, SIGNERS[:2], OFFICERS[1:]), root=after_theft.root)
    assert caught.value.exit_code == 26
    assert "sealift sign" in str(caught.value.next_step)


def test_a_revoked_officer_has_the_same(after_theft: Revoked) -> None:
    made = endorse(RELEASE, TRANSPORT, SIGNERS[1:], OFFICERS[:1])
    with pytest.raises(RevokedKey):
        decide(made, root=after_theft.root)


def test_a_bundle_signed_anew_beside_its_revoked_signature_is_accepted(after_theft: Revoked) -> None:
    made = endorse(RELEASE, TRANSPORT, [SIGNERS[0], SIGNERS[1], after_theft.new], OFFICERS)
    vouched = decide(made, root=after_theft.root)
    assert vouched.release_keys == ids(SIGNERS[1], after_theft.new)
    assert vouched.officers == ids(OFFICERS[1])


def test_a_removed_key_that_is_not_revoked_is_a_stranger() -> None:
    root = next_root(BANK.root, Changes(remove=ids(SIGNERS[0])))
    with pytest.raises(UnknownKey):
        decide(endorse(RELEASE, TRANSPORT, SIGNERS[:2], OFFICERS), root=root)


POOL = [keyfile.generate() for _ in range(6)]
NUMBERS = st.sets(st.integers(0, 5))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_random_signers_against_thresholds_agree_with_a_naive_count(data: st.DataObject) -> None:
    """Keys 0 to 5 have random roles, patterns and revocations; who signs what is random, too."""
    roles = data.draw(st.lists(st.sampled_from("frov-"), min_size=6, max_size=6))
    fraud, vision, officers, revoked = (
        {number for number, role in enumerate(roles) if role == letter} for letter in "fvor"
    )
    release = dict.fromkeys(fraud, ("fraud*",)) | dict.fromkeys(vision, ("vision",))
    if not release:
        return
    root = Root(
        version=2,
        keys={POOL[n].public.key_id: POOL[n].public for n in {*release, *officers}},
        root_keys=(),
        root_threshold=1,
        release_keys={POOL[n].public.key_id: patterns for n, patterns in release.items()},
        release_threshold=data.draw(st.integers(1, len(release))),
        officers=ids(*(POOL[n] for n in officers)),
        officer_threshold=data.draw(st.integers(0, len(officers))),
        revoked=ids(*(POOL[n] for n in revoked)),
    )
    policy = Policy(data.draw(st.integers(0, 3)))
    signed, approved, carried = (data.draw(NUMBERS) for _ in range(3))
    made = Endorsement(
        endorse(RELEASE, TRANSPORT, [POOL[n] for n in signed]).signatures,
        endorse(RELEASE, TRANSPORT, officers=[POOL[n] for n in approved]).approvals,
        endorse(RELEASE, TRANSPORT, [POOL[n] for n in carried]).transport_signatures,
    )
    naive = (
        len(signed & fraud) >= root.release_threshold
        and len(carried & fraud) >= root.release_threshold
        and len(approved & officers) >= max(root.officer_threshold, policy.officers)
    )
    if not naive:
        with pytest.raises(TrustError):
            decide(made, root=root, policy=policy, product="fraud-eu")
        return
    vouched = decide(made, root=root, policy=policy, product="fraud-eu")
    assert vouched.release_keys == ids(*(POOL[n] for n in signed & fraud))
    assert vouched.officers == ids(*(POOL[n] for n in approved & officers))


@settings(max_examples=200, deadline=None)
@given(
    what=st.sampled_from(["signatures", "approvals", "transport_signatures"]),
    byte=st.integers(0, 63),
    bit=st.integers(0, 7),
    which=st.integers(0, 1),
)
def test_any_flipped_bit_of_any_counted_signature_is_refused(
    what: str, byte: int, bit: int, which: int
) -> None:
    signatures = getattr(FULL, what)
    chosen = signatures[which % len(signatures)]
    raw = bytearray(chosen.signature)
    raw[byte] ^= 1 << bit
    spoiled = tuple(replace(one, signature=bytes(raw)) if one is chosen else one for one in signatures)
    with pytest.raises(BadSignature):
        decide(replace(FULL, **{what: spoiled}))
