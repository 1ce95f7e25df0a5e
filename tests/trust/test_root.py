"""The root's own form is as strict as any document's, for those who write it too."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.made_bundles import make_authority, make_signer, sign_root

from sealift import canonical
from sealift.errors import BadSignature, MalformedBundle
from sealift.seal import keyfile
from sealift.trust.keys import RELEASE_CONTEXT, TRANSPORT_CONTEXT, Signature
from sealift.trust.root import SignedRoot, decode_partial_root, decode_root, root_problems

Doc = dict[str, Any]
AUTHORITY = make_authority(root=(2, 3), release=(1, 2), officers=(1, 2), patterns=("fraud*", "vision"))


def test_a_root_reads_back_as_written() -> None:
    assert decode_root(AUTHORITY.signed.encode()).encode() == AUTHORITY.signed.encode()
    assert decode_root(AUTHORITY.signed.encode()).root.fingerprint == AUTHORITY.root.fingerprint


def test_the_fingerprint_does_not_depend_on_who_signed() -> None:
    fewer = sign_root(AUTHORITY.root, AUTHORITY.root_keys[:2])
    assert decode_root(fewer.encode()).root.fingerprint == AUTHORITY.root.fingerprint


def test_a_root_that_its_own_key_did_not_sign_is_refused() -> None:
    signed = make_signer().signed
    with pytest.raises(BadSignature, match=r"signed by 0 of its root keys, 1 are needed"):
        decode_root(sign_root(signed.root, [keyfile.generate()]).encode())


def test_one_signature_of_two_is_too_few() -> None:
    with pytest.raises(BadSignature, match="signed by 1 of its root keys, 2 are needed"):
        decode_root(sign_root(AUTHORITY.root, AUTHORITY.root_keys[:1]).encode())


def test_a_wrong_signature_of_a_root_key_is_refused_also_where_enough_others_signed() -> None:
    good = sign_root(AUTHORITY.root, AUTHORITY.root_keys).signatures
    spoiled = (replace(good[0], signature=good[1].signature), *good[1:])
    with pytest.raises(BadSignature, match=r"the signature of root key sha256:.* is wrong"):
        decode_root(SignedRoot(AUTHORITY.root, spoiled).encode())


def test_a_stranger_may_not_sign_a_first_root_even_beside_enough_others() -> None:
    with pytest.raises(BadSignature, match="version 1 is signed by a key that is not one of its root keys"):
        decode_root(sign_root(AUTHORITY.root, [*AUTHORITY.root_keys, keyfile.generate()]).encode())


@pytest.mark.parametrize("role", ["release_keys", "officers"])
def test_a_key_of_another_role_cannot_sign_a_root(role: str) -> None:
    with pytest.raises(BadSignature, match="signed by 0 of its root keys"):
        decode_root(sign_root(AUTHORITY.root, getattr(AUTHORITY, role)).encode())


@pytest.mark.parametrize("context", [b"", RELEASE_CONTEXT, TRANSPORT_CONTEXT])
def test_a_signature_over_the_root_in_another_context_does_not_count(context: bytes) -> None:
    bare = canonical.encode(AUTHORITY.root.signed_part())
    signatures = tuple(
        sorted((key.sign(context + bare) for key in AUTHORITY.root_keys), key=lambda one: one.key_id)
    )
    with pytest.raises(BadSignature):
        decode_root(SignedRoot(AUTHORITY.root, signatures).encode())


def test_a_partial_root_is_read_without_its_signatures_being_believed() -> None:
    unsigned = SignedRoot(AUTHORITY.root, ())
    assert decode_partial_root(unsigned.encode(), "next.json") == decode_partial_root(
        unsigned.encode(), "next.json"
    )
    with pytest.raises(BadSignature):
        decode_root(unsigned.encode())


def altered(change: Callable[[Doc], object]) -> bytes:
    """The root's signed part changed and signed again by all: only its form is wrong."""
    doc = canonical.decode(AUTHORITY.signed.encode(), "x")
    change(doc["signed"])
    from sealift.trust.keys import ROOT_CONTEXT, signatures_to_json

    message = ROOT_CONTEXT + canonical.encode(doc["signed"])
    doc["signatures"] = signatures_to_json([key.sign(message) for key in AUTHORITY.root_keys])
    return canonical.encode(doc)


A_ROOT, AN_OFFICER = AUTHORITY.root.root_keys[0], AUTHORITY.root.officers[0]
A_RELEASE = sorted(AUTHORITY.root.release_keys)[0]
STRANGER = keyfile.generate().public


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(format="sealift-root/2"), "expected format sealift-root/1"),
        (lambda d: d.update(extra=1), "expected format sealift-root/1"),
        (lambda d: d.pop("revoked"), "expected format sealift-root/1"),
        (lambda d: d.pop("officers"), "expected format sealift-root/1"),
        (lambda d: d.update(version=0), "version is 0, expected 1 or more"),
        (lambda d: d.update(version=True), "version is True"),
        (lambda d: d.update(version="1"), "version is '1'"),
        (lambda d: d.update(keys=[]), "keys are not an object"),
        (lambda d: d["release"].update(keys=[]), "keys are not an object"),
        (lambda d: d.update(root=[]), "a role needs keys and threshold"),
        (lambda d: d["officers"].pop("threshold"), "a role needs keys and threshold"),
        (lambda d: d["officers"].update(more=1), "a role needs keys and threshold"),
        (lambda d: d["root"].update(threshold=0), "root.threshold is 0"),
        (lambda d: d["root"].update(threshold=4), "threshold 4 of 3 root keys"),
        (lambda d: d["root"].update(threshold=True), "root.threshold is True"),
        (lambda d: d["release"].update(threshold=0), "release.threshold is 0"),
        (lambda d: d["release"].update(threshold=3), "threshold 3 of 2 release keys"),
        (lambda d: d["officers"].update(threshold=3), "threshold 3 of 2 officers keys"),
        (lambda d: d["officers"].update(threshold=-1), "officers.threshold is -1"),
        (lambda d: d["root"]["keys"].reverse(), "not sorted or repeats itself"),
        (lambda d: d["root"]["keys"].append(d["root"]["keys"][-1]), "not sorted or repeats itself"),
        (lambda d: d["root"].update(keys=[1]), "expected a list of strings"),
        (lambda d: d["root"].update(keys=["ff"], threshold=1), "other keys than those listed"),
        (lambda d: d["officers"]["keys"].remove(AN_OFFICER), "other keys than those listed"),
        (lambda d: d["keys"].update({STRANGER.key_id: STRANGER.to_json()}), "other keys than those listed"),
        (lambda d: d["keys"].update({A_ROOT: STRANGER.to_json()}), "does not have the id it stands under"),
        (lambda d: d["officers"].update(keys=sorted([AN_OFFICER, A_RELEASE])), "a key has two roles"),
        (lambda d: d["root"].update(keys=sorted([A_ROOT, A_RELEASE]), threshold=1), "a key has two roles"),
        (lambda d: d.update(revoked=[A_RELEASE]), "a revoked key is listed"),
        (lambda d: d.update(revoked=["ff"]), "key ids"),
        (lambda d: d.update(revoked=[STRANGER.key_id.upper()]), "key ids"),
        (lambda d: d.update(revoked=[f"{n:064x}" for n in range(1025)]), "at most 1024 key ids"),
        (lambda d: d.update(revoked={}), "expected a list of strings"),
        (lambda d: d["release"]["keys"].update({A_RELEASE: []}), "without a product pattern"),
        (lambda d: d["release"]["keys"].update({A_RELEASE: ["Fraud"]}), "product pattern 'Fraud'"),
        (lambda d: d["release"]["keys"].update({A_RELEASE: ["[a-z]*"]}), r"product pattern '\[a-z\]\*'"),
        (lambda d: d["release"]["keys"].update({A_RELEASE: [""]}), "product pattern ''"),
        (lambda d: d["release"]["keys"].update({A_RELEASE: ["b", "a"]}), "not sorted"),
        (lambda d: d["release"]["keys"].update({A_RELEASE: "fraud"}), "expected a list of strings"),
        (lambda d: d["keys"][A_ROOT].update(alg="sm2"), "algorithm 'sm2' is not known"),
    ],
)
def test_a_root_in_another_form_is_refused_though_its_keys_signed_it(
    change: Callable[[Doc], object], said: str
) -> None:
    with pytest.raises(MalformedBundle, match=said):
        decode_root(altered(change))


def test_more_than_32_keys_of_a_role_are_refused() -> None:
    keys = [keyfile.generate().public for _ in range(33)]
    officers = tuple(sorted(key.key_id for key in keys))
    root = replace(
        AUTHORITY.root,
        keys={**AUTHORITY.root.keys, **{key.key_id: key for key in keys}},
        officers=tuple(sorted({*AUTHORITY.root.officers, *officers})),
    )
    assert root_problems(root) == ("35 officers keys, at most 32 are permitted",)


def test_all_that_is_wrong_with_a_root_is_said_at_once() -> None:
    root = replace(AUTHORITY.root, root_threshold=9, release_threshold=9, revoked=(A_ROOT,))
    assert len(root_problems(root)) == 3


@pytest.mark.parametrize(
    ("pattern", "product", "allowed"),
    [
        ("fraud*", "fraud", True),
        ("fraud*", "fraud-eu", True),
        ("fraud*", "xfraud", False),
        ("fraud", "fraud-eu", False),
        ("fraud-??", "fraud-eu", True),
        ("fraud-??", "fraud-e", False),
        ("*", "anything", True),
        ("a.b", "axb", False),
        ("a.b", "a.b", True),
        ("fraud*", "Fraud", False),
    ],
)
def test_product_patterns_are_matched_whole_and_by_case(pattern: str, product: str, allowed: bool) -> None:
    root = make_authority(patterns=(pattern,)).root
    assert bool(root.may_sign(product)) is allowed


WHOLE = AUTHORITY.signed.encode()


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_root_is_refused(position: int, bit: int) -> None:
    data = bytearray(WHOLE)
    data[position] ^= 1 << bit
    with pytest.raises((MalformedBundle, BadSignature)):
        decode_root(bytes(data))


@pytest.mark.parametrize("cut", [0, 1, len(WHOLE) // 2, len(WHOLE) - 1])
def test_a_truncated_root_and_one_with_more_behind_it_are_refused(cut: int) -> None:
    for data in (WHOLE[:cut], WHOLE + WHOLE[: cut + 1], WHOLE + b"\n"):
        with pytest.raises(MalformedBundle):
            decode_root(data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PATHS = [
    ("signed",), ("signatures",), *(("signed", key) for key in AUTHORITY.root.signed_part()),
    ("signed", "root", "keys"), ("signed", "root", "threshold"), ("signed", "release", "keys"),
    ("signed", "release", "keys", A_RELEASE), ("signed", "keys", A_ROOT), ("signed", "officers", "keys"),
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(PATHS), value=VALUES)
def test_whatever_stands_anywhere_in_a_root_the_answer_is_a_refusal_and_no_crash(
    path: tuple[str, ...], value: Any
) -> None:
    doc = canonical.decode(WHOLE, "x")
    place = doc
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assume(canonical.encode(doc) != WHOLE)
    for reader in (decode_root, decode_partial_root):
        with contextlib.suppress(MalformedBundle, BadSignature):
            reader(canonical.encode(doc), "root.json")
            assert reader is decode_partial_root


def test_an_extra_signature_of_unknown_kind_is_not_skipped() -> None:
    signatures = (*AUTHORITY.signed.signatures, Signature("sm2", "f" * 64, b"x" * 64))
    with pytest.raises(MalformedBundle, match="algorithm 'sm2'"):
        decode_root(SignedRoot(AUTHORITY.root, signatures).encode())
