"""Canonical JSON: one encoding, everything else refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift import canonical
from sealift.errors import MalformedBundle

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_what_was_encoded_decodes_to_itself(value: dict[str, Any]) -> None:
    data = canonical.encode(value)
    assert canonical.decode(data, "x") == value
    assert json.loads(data) == value


def test_keys_are_ordered_by_utf16_code_units_as_rfc_8785_says() -> None:
    """Section 3.2.3: U+1F600 (a surrogate pair, D83D...) sorts before U+FB33."""
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert list(json.loads(canonical.encode(value))) == [
        "\r",
        "1",
        "\u0080",
        "\u00f6",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]


def test_strings_are_escaped_as_rfc_8785_says() -> None:
    assert (
        canonical.encode({"a": '\u20ac$\u000f\nA\'B"\\\\"/'})
        == b'{"a":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":NaN}',
        b'{"a":9007199254740992}',
        b'{"a":"\\u0041"}',
        b'{"a":1}\n',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":-0}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b"[1]",
        b"",
        b"[" * 100_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
    ],
)
def test_any_other_encoding_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedBundle) as caught:
        canonical.decode(data, "release.json")
    assert caught.value.message.startswith("release.json: ")


@pytest.mark.parametrize("value", [1.5, {1: 2}, {"a": 2**53}, {"a": "\ud800"}, {"a": {3}}])
def test_what_has_no_canonical_form_is_not_encoded(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical.encode(value)


def test_the_short_form_shows_eight_digits() -> None:
    assert canonical.short("9f31c2a0" + "0" * 56) == "sha256:9f31-c2a0"
