"""The root decides who vouches; its own form is as strict as any document's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.made_bundles import make_signer

from sealift import canonical
from sealift.errors import BadSignature, MalformedBundle, TrustError, UnknownKey
from sealift.seal import keyfile
from sealift.trust.keys import RELEASE_CONTEXT, TRANSPORT_CONTEXT, Signature, signatures_from_json
from sealift.trust.root import Root, SignedRoot, accept_root, decode_root, release_signers


def test_a_root_reads_back_as_written() -> None:
    signed = make_signer(("a*", "b")).signed
    assert decode_root(signed.encode()).root.signed_part() == signed.root.signed_part()


def test_a_root_that_its_own_key_did_not_sign_is_refused() -> None:
    signed = make_signer().signed
    stranger = keyfile.generate().sign(signed.root.message())
    with pytest.raises(BadSignature, match="signed by 0 of its root keys, 1 are needed"):
        decode_root(SignedRoot(signed.root, (stranger,)).encode())


def test_a_release_key_cannot_sign_a_root() -> None:
    signer = make_signer()
    root = signer.signed.root
    with pytest.raises(BadSignature):
        decode_root(SignedRoot(root, (signer.release_key.sign(root.message()),)).encode())


def change(signed: SignedRoot, **changes: Any) -> bytes:
    doc = canonical.decode(signed.encode(), "x")
    doc["signed"].update(changes)
    return canonical.encode(doc)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": True},
        {"root": {"keys": [], "threshold": 0}},
        {"root": {"keys": ["ff"], "threshold": 1}},
        {"release": {"keys": {}, "threshold": 1}},
        {"release": {"keys": {"ff": ["*"]}, "threshold": 1}},
        {"keys": {"ff": {"alg": "ed25519", "public": "00" * 32}}},
        {"keys": []},
        {"format": "sealift-root/2"},
        {"extra": 1},
    ],
)
def test_a_root_in_another_form_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((MalformedBundle, BadSignature)):
        decode_root(change(make_signer().signed, **changes))


def test_a_signature_of_another_kind_does_not_count() -> None:
    signer = make_signer()
    signature = signer.release_key.sign(TRANSPORT_CONTEXT + b"x")
    with pytest.raises(BadSignature):
        release_signers(signer.signed.root, "fraud", (signature,), RELEASE_CONTEXT + b"x")


def two_keys_needed() -> tuple[Root, list[keyfile.SigningKey]]:
    keys = [keyfile.generate(), keyfile.generate()]
    root = make_signer().signed.root
    more = {key.public.key_id: key.public for key in keys}
    release = dict.fromkeys(more, ("fraud*",))
    return replace(root, keys={**root.keys, **more}, release_keys=release, release_threshold=2), keys


def test_a_release_threshold_counts_distinct_keys() -> None:
    root, keys = two_keys_needed()
    message = RELEASE_CONTEXT + b"x"
    one = keys[0].sign(message)
    with pytest.raises(UnknownKey, match="1 of them may sign fraud under the trusted root, 2 must"):
        release_signers(root, "fraud", (one, one), message)
    assert len(release_signers(root, "fraud", (one, keys[1].sign(message)), message)) == 2


def test_an_extra_signature_of_a_stranger_does_no_harm() -> None:
    signer = make_signer()
    message = RELEASE_CONTEXT + b"x"
    both = (keyfile.generate().sign(message), signer.release_key.sign(message))
    assert release_signers(signer.signed.root, "fraud", both, message) == (signer.release_key.public.key_id,)


@pytest.mark.parametrize(
    ("product", "allowed"), [("fraud", True), ("fraud-eu", True), ("xfraud", False), ("Fraud", False)]
)
def test_product_patterns_are_matched_whole_and_by_case(product: str, allowed: bool) -> None:
    signer = make_signer(("fraud*",))
    message = RELEASE_CONTEXT + b"x"
    signature = (signer.release_key.sign(message),)
    if allowed:
        assert release_signers(signer.signed.root, product, signature, message)
    else:
        with pytest.raises(UnknownKey):
            release_signers(signer.signed.root, product, signature, message)


def test_another_root_than_the_pinned_one_is_refused() -> None:
    pinned, other = make_signer().signed.root, make_signer().signed.root
    assert accept_root(None, other) is other
    assert accept_root(pinned, pinned) is pinned
    with pytest.raises(TrustError, match="this prefix trusts root"):
        accept_root(pinned, other)


def test_signatures_have_one_order_and_one_base64_form() -> None:
    items = [Signature("ed25519", key, b"x" * 64).to_json() for key in ("a", "b")]
    assert len(signatures_from_json(items, "s")) == 2
    sloppy = [{**items[0], "signature": items[0]["signature"][:-3] + "B=="}]
    wrongs: list[object] = [items[::-1], [items[0], items[0]], sloppy, [1], {}, [{**items[0], "x": 1}]]
    for wrong in wrongs:
        with pytest.raises(MalformedBundle):
            signatures_from_json(wrong, "s")
