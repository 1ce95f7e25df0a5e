"""Keys and signatures have one form, and an algorithm that this sealift does not know is refused by name."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sealift import canonical
from sealift.errors import MalformedBundle
from sealift.seal import keyfile
from sealift.trust.keys import (
    ALGORITHMS,
    APPROVAL_CONTEXT,
    RELEASE_CONTEXT,
    ROOT_CONTEXT,
    TRANSPORT_CONTEXT,
    PublicKey,
    key_from_json,
    merge_signatures,
    signatures_from_json,
    signatures_to_json,
    tally,
)

ONE, TWO = sorted((keyfile.generate(), keyfile.generate()), key=lambda key: key.public.key_id)
IDS = [ONE.public.key_id, TWO.public.key_id]
PUBLIC = {key.public.key_id: key.public for key in (ONE, TWO)}


def documents() -> list[dict[str, Any]]:
    return signatures_to_json([TWO.sign(b"x"), ONE.sign(b"x")])


def test_a_key_and_its_signature_read_back_as_written() -> None:
    assert key_from_json(ONE.public.to_json(), "k") == ONE.public
    assert signatures_from_json(documents(), "s") == (ONE.sign(b"x"), TWO.sign(b"x"))


def test_the_key_id_is_the_digest_of_the_keys_document() -> None:
    document = b'{"alg":"ed25519","public":"' + ONE.public.public.encode() + b'"}'
    assert ONE.public.key_id == canonical.digest(document)


def test_no_two_contexts_begin_alike() -> None:
    contexts = [RELEASE_CONTEXT, APPROVAL_CONTEXT, TRANSPORT_CONTEXT, ROOT_CONTEXT]
    assert not any(a.startswith(b) for a in contexts for b in contexts if a is not b)
    assert all(context.endswith(b"\n") for context in contexts)


@pytest.mark.parametrize("alg", ["sm2", "rsa", "ED25519", "", None, 1, ["ed25519"], {"a": 1}])
def test_an_unknown_algorithm_is_refused_by_name(alg: Any) -> None:
    expected = r"algorithm .* is not known to this sealift \(it knows ed25519\)"
    with pytest.raises(MalformedBundle, match=expected) as caught:
        key_from_json({**ONE.public.to_json(), "alg": alg}, "root.json")
    assert caught.value.next_step == "use a sealift that knows it"
    with pytest.raises(MalformedBundle, match=expected):
        signatures_from_json([{**documents()[0], "alg": alg}], "release.sig.json")


def test_another_algorithm_would_be_one_more_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What SM2 will need of this file: sizes and a function, under its name."""

    def verify(public: bytes, signature: bytes, message: bytes) -> None:
        if signature != (public + message)[:4]:
            raise ValueError

    more = {**ALGORITHMS, "toy": type(ALGORITHMS["ed25519"])(2, 4, verify)}
    monkeypatch.setattr("sealift.trust.keys.ALGORITHMS", more)
    key = key_from_json({"alg": "toy", "public": "abcd"}, "k")
    value = {
        "alg": "toy",
        "key": key.key_id,
        "signature": base64.b64encode(bytes.fromhex("abcd") + b"hi").decode(),
    }
    assert tally([key.key_id], {key.key_id: key}, signatures_from_json([value], "s"), b"hi").good == (
        key.key_id,
    )


@pytest.mark.parametrize(
    "public", ["", "00" * 31, "00" * 33, "AA" * 32, "0x" + "00" * 31, "g0" + "00" * 31, 5, None]
)
def test_a_key_in_another_form_is_refused(public: Any) -> None:
    with pytest.raises(MalformedBundle, match="expected 64 hex digits"):
        key_from_json({"alg": "ed25519", "public": public}, "k")


@pytest.mark.parametrize("value", [None, [], {}, {"alg": "ed25519"}, {**ONE.public.to_json(), "use": "root"}])
def test_what_is_no_key_is_refused(value: Any) -> None:
    with pytest.raises(MalformedBundle, match="expected a key with alg and public"):
        key_from_json(value, "k")


def mangled(**changes: Any) -> list[dict[str, Any]]:
    return [{**documents()[0], **changes}]


RAW = base64.b64decode(documents()[0]["signature"])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "at most 64 signatures"),
        ({}, "at most 64 signatures"),
        ([*documents(), *documents()] * 20, "at most 64 signatures"),
        ([1], "expected alg, key and signature"),
        (documents()[::-1], "not in the order of their keys"),
        ([documents()[0], documents()[0]], "or one stands twice"),
        (mangled(extra=1), "expected alg, key and signature"),
        (mangled(key="ff"), "not a key id"),
        (mangled(key=IDS[0].upper()), "not a key id"),
        (mangled(key=7), "not a key id"),
        (mangled(signature=7), "its signature no string"),
        (mangled(signature="****"), "not base64"),
        (mangled(signature="é"), "not base64"),
        (mangled(signature=base64.b64encode(RAW).decode() + "\n"), "not base64"),
        (mangled(signature=base64.b64encode(RAW).decode()[:-3] + "B=="), "one base64 form"),
        (mangled(signature=base64.b64encode(RAW[:-1]).decode()), "63 bytes, ed25519 has 64"),
        (mangled(signature=base64.b64encode(RAW + b"x").decode()), "65 bytes, ed25519 has 64"),
        (mangled(signature=""), "0 bytes, ed25519 has 64"),
    ],
)
def test_signatures_in_another_form_are_refused(value: Any, said: str) -> None:
    with pytest.raises(MalformedBundle, match=said):
        signatures_from_json(value, "release.sig.json")


def test_a_tally_tells_good_wrong_and_strangers_apart() -> None:
    counted = tally(IDS, PUBLIC, [ONE.sign(b"x"), TWO.sign(b"y"), keyfile.generate().sign(b"x")], b"x")
    assert counted.good == (IDS[0],)
    assert counted.wrong == (IDS[1],)


def test_a_key_with_one_good_and_one_wrong_signature_does_not_count() -> None:
    counted = tally(IDS, PUBLIC, [ONE.sign(b"x"), ONE.sign(b"y")], b"x")
    assert counted.good == ()
    assert counted.wrong == (IDS[0],)


def test_one_key_counts_once_however_often_it_signed() -> None:
    assert tally(IDS, PUBLIC, [ONE.sign(b"x")] * 5, b"x").good == (IDS[0],)


def test_a_signature_of_another_algorithm_than_its_keys_is_wrong() -> None:
    signature = ONE.sign(b"x")
    other = type(signature)("sm2", signature.key_id, signature.signature)
    assert tally(IDS, PUBLIC, [other], b"x").wrong == (IDS[0],)


def test_a_public_key_that_is_no_point_verifies_nothing() -> None:
    assert not PublicKey("ed25519", "ff" * 32).verifies(RAW, b"x")
    assert not PublicKey("unknown", "00" * 32).verifies(RAW, b"x")


def test_merging_keeps_one_signature_a_key_and_the_newer_one() -> None:
    merged = merge_signatures([TWO.sign(b"old"), ONE.sign(b"x")], [TWO.sign(b"new")])
    assert merged == (ONE.sign(b"x"), TWO.sign(b"new"))
