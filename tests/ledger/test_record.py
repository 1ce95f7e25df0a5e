"""One line of the log: its form, and what may stand in it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealift import canonical
from sealift.errors import BrokenLedger
from sealift.ledger.record import FIRST, MAX_LINE_BYTES, Record, cleaned, decode_line, text_of

RECORD = Record(1, "2026-11-22T17:00:00Z", "alice", "install", {"version": "1.0"}, FIRST)


def test_a_line_is_canonical_json_with_its_line_feed_and_comes_back_the_same() -> None:
    line = RECORD.encode()
    assert line == (
        b'{"event":"install","facts":{"version":"1.0"},"number":1,"previous":"' + b"0" * 64 + b'",'
        b'"time":"2026-11-22T17:00:00Z","who":"alice"}\n'
    )
    assert decode_line(line, "x") == RECORD
    assert RECORD.digest == hashlib.sha256(line).hexdigest()


def test_a_word_of_a_newer_sealift_is_read() -> None:
    newer = Record(1, RECORD.time, "alice", "activate", {}, FIRST)
    assert decode_line(newer.encode(), "x").event == "activate"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("event", "Install"), ("event", 1), ("facts", []), ("facts", {"a": {"b": 1}}), ("facts", {"a": None}),
        ("facts", {"a": [[1]]}), ("number", 0), ("number", True), ("number", "1"), ("previous", "0" * 63),
        ("previous", "A" * 64), ("time", "2026-11-22"), ("time", "２026-11-22T17:00:00Z"), ("who", 7), ("extra", 1),
    ],
)  # fmt: skip
def test_a_line_of_another_form_is_refused(key: str, value: Any) -> None:
    doc = {**RECORD.to_json(), key: value}
    with pytest.raises(BrokenLedger, match="not a record of this log"):
        decode_line(canonical.encode(doc) + b"\n", "line 1")


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"{}\n", RECORD.encode()[:-1], RECORD.encode() + b"\n", RECORD.encode().replace(b":1,", b": 1,"),
        b" " + RECORD.encode(), b'{"a":1,"a":1}\n', b"\0" * 50 + b"\n", b"[" * 5000 + b"\n",
        json.dumps(RECORD.to_json()).encode() + b"\n", b"x" * MAX_LINE_BYTES + b"\n",
    ],
)  # fmt: skip
def test_a_line_that_is_not_in_its_one_form_is_refused(line: bytes) -> None:
    with pytest.raises(BrokenLedger):
        decode_line(line, "line 1")


@pytest.mark.parametrize(
    "name",
    ["passphrase", "password", "db_passwd", "token", "api_token_id", "secret", "private_key", "credentials"],
)
def test_a_name_that_smells_of_a_secret_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a secret is never written to the log"):
        cleaned({name: "x"})


@pytest.mark.parametrize("name", ["", "Version", "a b", "1a", "a-b", "a" * 65, "é"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a fact"):
        cleaned({name: "x"})


@pytest.mark.parametrize("value", [1.5, None, {"a": 1}, [1.5], [[1]], b"x", 2**53, float("nan")])
def test_a_value_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a string, an integer, a boolean or a list of them"):
        cleaned({"fact": value})


def test_too_many_facts_are_refused() -> None:
    with pytest.raises(ValueError, match="17 facts, at most 16"):
        cleaned({f"a{number}": 1 for number in range(17)})


def test_long_texts_and_lists_are_cut_and_say_so() -> None:
    facts = cleaned({"text": "x" * 501, "list": list(range(17)), "whole": ["y"] * 16})
    assert facts["text"] == "x" * 480 + "... (501 characters)"
    assert facts["list"] == [*range(15), "... (17 entries)"]
    assert facts["whole"] == ["y"] * 16


def test_the_largest_facts_fit_a_line() -> None:
    worst = cleaned({f"a{number}": ["\x01" * 1000] * 20 for number in range(16)})
    line = Record(2**53 - 1, RECORD.time, text_of("\x01" * 9999), "install", worst, FIRST).encode()
    assert len(line) < MAX_LINE_BYTES
    assert decode_line(line, "x").facts == worst


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=700) | st.text(st.characters(categories=["Cs"]), max_size=5))
def test_no_content_of_a_string_makes_a_line_fail(text: str) -> None:
    record = Record(
        1, RECORD.time, text_of(text), "refusal", cleaned({"said": text, "all": [text, True, 3]}), FIRST
    )
    assert decode_line(record.encode(), "x") == record
