"""transport.json has one permitted form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift import canonical
from sealift.bundle.transport import Base, StoredObject, Transport, decode_transport
from sealift.errors import MalformedBundle

A, B = "aa" * 32, "bb" * 32
TRANSPORT = Transport(
    release=A,
    manifests=(A, B),
    objects={A: StoredObject("raw", 4, 4, A), B: StoredObject("zstd", 40, 9, A)},
)

C = "cc" * 32
DELTA = Transport(
    release=A,
    manifests=(),
    objects={A: StoredObject("raw", 4, 4, A), B: StoredObject("zstd-prefix", 40, 9, A, source=C)},
    bases=(Base(B, 5, "5.0"), Base(C, 4, "4.0+x")),
)


def changed(**changes: Any) -> bytes:
    return canonical.encode(canonical.decode(TRANSPORT.encode(), "x") | changes)


def stored(**changes: Any) -> dict[str, Any]:
    entry = {"codec": "zstd", "size": 40, "stored_sha256": A, "stored_size": 9, **changes}
    return {"objects": {B: entry}}


def test_it_reads_back_as_written() -> None:
    assert decode_transport(TRANSPORT.encode()) == TRANSPORT
    assert decode_transport(DELTA.encode()) == DELTA


def test_a_full_bundle_is_written_as_before_there_were_deltas() -> None:
    """A sealift that knows none reads it, and refuses a delta by the name of its format."""
    assert b'"sealift-transport/1"' in TRANSPORT.encode()
    assert b"bases" not in TRANSPORT.encode()
    assert b"from" not in TRANSPORT.encode()
    assert b'"sealift-transport/2"' in DELTA.encode()


def delta(**changes: Any) -> bytes:
    return canonical.encode(canonical.decode(DELTA.encode(), "x") | changes)


def patch(**changes: Any) -> dict[str, Any]:
    entry = {"codec": "zstd-prefix", "from": C, "size": 40, "stored_sha256": A, "stored_size": 9, **changes}
    return {"objects": {B: {key: value for key, value in entry.items() if value is not None}}}


def base(**changes: Any) -> dict[str, Any]:
    return {"identity": B, "seq": 5, "version": "5.0", **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bases": []}, "not 1 to 16"),
        ({"bases": [base(identity=C), base()]}, "not in order"),
        ({"bases": [base(), base(seq=6)]}, "stand twice"),
        ({"bases": [base(identity=f"{n:064x}") for n in range(17)]}, "not 1 to 16"),
        ({"bases": {}}, "bases is not a list"),
        ({"bases": [1]}, "base is not an object"),
        ({"bases": [base(x=1)]}, "unknown keys ['x']"),
        ({"bases": [base(seq=-1)]}, "seq is -1"),
        ({"bases": [base(seq=True)]}, "seq is True"),
        ({"bases": [base(version="")]}, "version is ''"),
        ({"bases": [base(identity="AA" * 32)]}, "identity is"),
        ({"format": "sealift-transport/1"}, "unknown keys ['bases']"),
        (patch(**{"from": B}), "an object that travels itself"),
        (patch(**{"from": "x"}), "from is 'x'"),
        (patch(**{"from": None}), "missing keys ['from']"),
        (patch(codec="zstd"), "unknown keys ['from']"),
        (patch(codec="raw"), "unknown keys ['from']"),
        (patch(stored_size=40), "zstd-prefix must be smaller than the object"),
    ],
)
def test_any_other_form_of_a_delta_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedBundle) as caught:
        decode_transport(delta(**changes))
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (stored(codec="zip"), "codec 'zip' is not known to this sealift"),
        (stored(codec="hdiff"), "codec 'hdiff' is not known to this sealift"),
        (stored(codec="raw"), "a raw object is stored as itself"),
        (stored(stored_size=40), "zstd must be smaller than the object"),
        (stored(size=2**40), "at most 8589934591 are permitted"),
        (stored(size=-1), "size is -1"),
        (stored(size=True), "size is True"),
        (stored(stored_sha256="AA" * 32), "stored_sha256 is"),
        (stored(extra=1), "unknown keys ['extra']"),
        ({"objects": {"x": {}}}, "object name is 'x'"),
        ({"objects": []}, "objects is not an object"),
        ({"manifests": [B, A]}, "not in order"),
        ({"manifests": [A, A]}, "stand twice"),
        ({"manifests": [A, B, "cc" * 32, "dd" * 32]}, "more than the layers"),
        ({"manifests": "x"}, "manifests is not a list"),
        ({"release": "x"}, "release is 'x'"),
        ({"format": "sealift-transport/3"}, "expected format sealift-transport/1"),
        ({"extra": 1}, "unknown keys ['extra']"),
    ],
)
def test_any_other_form_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedBundle) as caught:
        decode_transport(changed(**changes))
    assert said in caught.value.message


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_but_malformed_bundle(data: bytes) -> None:
    with pytest.raises(MalformedBundle):
        decode_transport(data)
