"""Any bytes: a parser refuses them with a 10s or 20s code, or gives back what they were; and the two readers agree."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS, WORDS, Finding, Target

each = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)


@each
def test_the_seeds_reach_the_heart_of_their_parser(target: Target) -> None:
    assert target.run(target.seeds[0])
    for seed in target.seeds:
        target.run(seed)


@each
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=600))
def test_any_bytes(target: Target, data: bytes) -> None:
    target.run(data)


@each
@settings(max_examples=150, deadline=None)
@given(number=st.integers(0, 2**32 - 1))
def test_seeds_with_a_few_changes(target: Target, number: int) -> None:
    draw = random.Random(number)
    target.run(mutated(draw.choice(target.seeds), draw))


FOUND = {
    "patch": [
        b"\0" * 8
        + b"(\xb5/\xfdd\x80\x01\xa5\0\0Pwords and \x02\0mfV\xd0\xa1 \x01",  # its checksum is cut off
        b"\0" * 8,
        b"\0\0\0\x80" * 2,
    ],
    "frame": [
        b"(\xb5/\xfdd\x80\x01\xa5\0\0Pwords and \x02\0mfV\xd0\xa1 \x01",
        b"\x28\xb5\x2f\xfd\x60\x80\x01" + b"\x01\x14\x00" + WORDS,  # one block, stored as it is
        b"\x50\x2a\x4d\x18\x80\x02\x00\x00",  # a skippable frame of the length that is looked for
    ],
    "document": [b'{"a":-0}', b'{"a":1e0}', b'{"\\u0000":0}', b'{"a":"\x7f"}', b'{"a":"\xe2\x80\xa8"}'],
    "manifest": [b'{"files":[],"format":"sealift-manifest/1"}'],
    "signatures": [b'{"signatures":null}', b'{"signatures":[[]]}', b'{"signatures":[],"signed":{}}'],
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_of_interest_before(name: str) -> None:
    for data in FOUND[name]:
        TARGETS[name].run(data)


def test_a_disagreement_would_be_seen() -> None:
    lax = Target("lax", lambda data: data, TARGETS["document"].second, ())
    with pytest.raises(Finding, match="ours True, the second reader False"):
        lax.run(b"{ }")
