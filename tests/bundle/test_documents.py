"""release.json, manifests and transport.json have one permitted form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift import canonical
from sealift.bundle.documents import (
    FileEntry,
    LayerRef,
    Release,
    decode_manifest,
    decode_release,
    encode_manifest,
    path_problem,
)
from sealift.errors import MalformedBundle

DIGEST = "ab" * 32


def release(**changes: Any) -> Release:
    layers = {name: LayerRef(DIGEST, 1, 5) for name in ("runtime", "dependencies", "application")}
    values: dict[str, Any] = {
        "product": "fraud", "version": "1.0", "seq": 3, "floor_seq": 0, "min_sealift": "0.1.0",
        "created": "2026-11-22T17:00:00Z", "target": {}, "layers": layers, "checks": {}, "provenance": {},
        "total_size": 15,
    }  # fmt: skip
    return Release(**{**values, **changes})


def test_a_release_reads_back_as_written() -> None:
    assert decode_release(release().encode()) == release()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"product": "../x"}, "product is '../x'"),
        ({"product": "Fraud"}, "product is 'Fraud'"),
        ({"version": ""}, "version is ''"),
        ({"version": "1/2"}, "version is '1/2'"),
        ({"seq": -1}, "seq is -1"),
        ({"created": "yesterday"}, "created is 'yesterday'"),
        ({"created": "\u0662026-11-22T17:00:00Z"}, "created is"),
        ({"total_size": 16}, "total_size is not the sum"),
        ({"target": []}, "target is not an object"),
    ],
)
def test_a_release_with_a_bad_value_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedBundle, match=r"release\.json") as caught:
        decode_release(release(**changes).encode())
    assert said in caught.value.message


def test_unknown_and_missing_keys_of_a_release_are_named() -> None:
    doc = canonical.decode(release().encode(), "x")
    del doc["seq"]
    doc["extra"] = 1
    with pytest.raises(MalformedBundle) as caught:
        decode_release(canonical.encode(doc))
    assert caught.value.message == "release.json: missing keys ['seq'], unknown keys ['extra']"


def test_a_release_of_another_format_is_refused_with_a_way_out() -> None:
    doc = canonical.decode(release().encode(), "x") | {"format": "sealift-release/2"}
    with pytest.raises(MalformedBundle) as caught:
        decode_release(canonical.encode(doc))
    assert (
        caught.value.message == "release.json: expected format sealift-release/1, found 'sealift-release/2'"
    )
    assert caught.value.next_step == "use a sealift that reads this format"


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\\b", "a\0b", "a\nb", "C:x", "con*", "a" * 201,
        "/".join("a" * 33), "a/b./c", "trailing ", "é" * 101,
    ],
)  # fmt: skip
def test_a_path_that_could_leave_or_break_a_file_system_is_refused(path: str) -> None:
    assert path_problem(path) is not None
    with pytest.raises(MalformedBundle):
        decode_manifest(encode_manifest({path: FileEntry(DIGEST, 1, False)}), "manifest")


@pytest.mark.parametrize(
    "path", ["a", "a/b.c", "torch/lib/libtorch.so.2", "a b/c (dev).tmpl", "é/ü", ".hidden"]
)
def test_ordinary_paths_are_taken(path: str) -> None:
    files = {path: FileEntry(DIGEST, 1, True)}
    assert decode_manifest(encode_manifest(files), "manifest") == files


COLLIDING = [("a/B", "a/b"), ("a", "a/b"), ("ß", "SS"), ("A/x", "a/y"), ("\u00e9", "e\u0301")]


@pytest.mark.parametrize(("one", "two"), COLLIDING)
def test_paths_that_collide_on_some_file_system_are_refused(one: str, two: str) -> None:
    files = {one: FileEntry(DIGEST, 1, False), two: FileEntry(DIGEST, 1, False)}
    with pytest.raises(MalformedBundle):
        decode_manifest(encode_manifest(files), "manifest")


def test_a_sparse_giant_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(MalformedBundle, match="at most"):
        decode_manifest(encode_manifest({"a": FileEntry(DIGEST, 2**40, False)}), "manifest")


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_malformed_bundle(data: bytes) -> None:
    for decode in (decode_release, lambda raw: decode_manifest(raw, "manifest")):
        with pytest.raises(MalformedBundle):
            decode(data)


@given(st.data())
def test_no_single_changed_byte_of_a_release_gives_the_same_release(data: st.DataObject) -> None:
    raw = bytearray(release().encode())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    try:
        changed = decode_release(bytes(raw))
    except MalformedBundle:
        return
    assert changed.identity != release().identity
