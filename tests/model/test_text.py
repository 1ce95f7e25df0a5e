"""Texts without a tokenizer: one string tensor, and what is no text."""

from __future__ import annotations

from typing import Any

import pytest

from sealift.errors import InvalidInput
from sealift.model.signature import Axis, TensorSpec
from sealift.model.text import Pair, TextPreparation, read_texts


@pytest.mark.parametrize(
    ("axes", "shape", "added"),
    [(("n", 1), (1, 1), {"n"}), (("n",), (1,), {"n"}), ((), (), set()), (None, (1,), {"?"})],
)
def test_a_text_becomes_one_string(
    axes: tuple[Axis, ...] | None, shape: tuple[int, ...], added: set[Axis]
) -> None:
    prepared = TextPreparation(TensorSpec(name="t", datatype="BYTES", shape=axes))({"text": "你好"})
    assert prepared.inputs["t"].shape == shape
    assert prepared.inputs["t"].item() == "你好"
    assert prepared.added_axes == added


def test_a_raw_body_is_utf_8() -> None:
    assert read_texts("zwölf".encode()) == ("zwölf", None)
    with pytest.raises(InvalidInput, match="not UTF-8 text: byte 2 is 0xf6") as caught:
        read_texts("zwölf".encode("latin-1"))
    assert caught.value.code == "invalid_text"


@pytest.mark.parametrize(
    ("payload", "pair", "message", "field"),
    [
        (5, "refused", 'expected {"text": "..."}, got 5', "text"),
        ({"txt": "a"}, "refused", 'expected {"text": "..."}, got {"txt":"a"}', "text"),
        ({"text": 5}, "refused", "text: expected a string, got 5", "text"),
        ({"text": None}, "optional", "text: expected a string, got null", "text"),
        ({"text": "a", "pair": "b"}, "refused", "pair: only text is taken", "pair"),
        ({"text": "a", "pair": 3}, "optional", "pair: expected a string, got 3", "pair"),
        ({"text": "a", "third": "b"}, "optional", "third: only text and pair is taken", "third"),
        (
            {"text": "a"},
            "required",
            'pair: missing; expected {"text": "...", "pair": "..."}',
            "pair",
        ),
        (b"a", "required", "pair: missing", "pair"),
    ],
)
def test_what_is_no_text_is_refused_by_name(payload: Any, pair: Pair, message: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_texts(payload, pair)
    assert caught.value.message.startswith(message)
    assert caught.value.field == field


def test_an_optional_pair_may_be_there_or_not() -> None:
    assert read_texts({"text": "a"}, "optional") == ("a", None)
    assert read_texts({"text": "a", "pair": "b"}, "optional") == ("a", "b")
