"""The container has exactly one encoding: whatever differs from it by a bit is refused."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.bundle import layout, tar
from sealift.errors import MalformedBundle

A, B = "aa" * 32, "bb" * 32
PARTS = {
    "release.json": b"{}",
    "transport.json": b'{"x":1}',
    "roots/1.json": b"{}",
    "roots/10.json": b"{}",
    layout.manifest(A): b"m" * 513,
    layout.object_(A): b"",
    layout.object_(B): b"o" * 1024,
}


def written(parts: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    tar.write_parts(stream, [(name, len(data), iter((data,))) for name, data in parts.items()])
    return stream.getvalue()


def read(data: bytes) -> dict[str, bytes]:
    index = tar.read_index(io.BytesIO(data), len(data))
    return {name: data[extent.offset : extent.offset + extent.size] for name, extent in index.items()}


def test_what_was_written_is_read_back_whatever_order_it_came_in() -> None:
    assert read(written(PARTS)) == PARTS
    assert written(PARTS) == written(dict(reversed(PARTS.items())))
    assert list(read(written(PARTS))) == list(PARTS)


def test_ordinary_tar_programs_read_it(tmp_path: Path) -> None:
    path = tmp_path / "x.sealift"
    path.write_bytes(written(PARTS))
    with tarfile.open(path) as archive:
        assert archive.getnames() == list(PARTS)
    listed = subprocess.run(["tar", "-tf", path], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == list(PARTS)
    assert listed.stderr == ""


@pytest.mark.slow
def test_every_single_flipped_bit_outside_the_parts_own_bytes_is_refused() -> None:
    whole = written(PARTS)
    index = tar.read_index(io.BytesIO(whole), len(whole))
    inside = {byte for extent in index.values() for byte in range(extent.offset, extent.offset + extent.size)}
    outside = [byte for byte in range(len(whole)) if byte not in inside]
    assert len(outside) > 4000
    for byte in outside:
        for bit in range(8):
            changed = bytearray(whole)
            changed[byte] ^= 1 << bit
            with pytest.raises(MalformedBundle):
                read(bytes(changed))


@given(st.data())
def test_every_truncation_and_every_appended_byte_is_refused(data: st.DataObject) -> None:
    whole = written(PARTS)
    cut = data.draw(st.integers(0, len(whole) - 1))
    more = data.draw(st.binary(min_size=1, max_size=1100))
    for changed in (whole[:cut], whole + more, whole + bytes(512)):
        with pytest.raises(MalformedBundle):
            read(changed)


@given(st.binary(max_size=3000))
def test_no_bytes_raise_anything_but_malformed_bundle(data: bytes) -> None:
    with pytest.raises(MalformedBundle):
        read(data)


@given(st.data())
def test_no_patched_header_raises_anything_but_malformed_bundle(data: st.DataObject) -> None:
    changed = bytearray(written(PARTS))
    start = data.draw(st.integers(0, len(changed) - 1))
    patch = data.draw(st.binary(min_size=1, max_size=600))
    changed[start : start + len(patch)] = patch
    try:
        found = read(bytes(changed))
    except MalformedBundle:
        return
    assert list(found) == list(PARTS)


@pytest.mark.parametrize(
    "name",
    [
        "other.json", "../release.json", "/etc/passwd", "roots/0.json", "roots/01.json", "roots/x.json",
        "objects/aa/" + "b" * 64, "objects/" + "a" * 64, f"objects/aa/{A.upper()}", "release.json/", "./release.json",
        "manifests/x.json",
    ],
)  # fmt: skip
def test_names_that_no_bundle_has_are_refused(name: str) -> None:
    data = tar.header(name, 0) + tar.END
    with pytest.raises(MalformedBundle, match="not a part of a bundle"):
        read(data)


def test_parts_out_of_order_or_twice_are_refused() -> None:
    one, two = tar.header("release.json", 0), tar.header("transport.json", 0)
    assert list(read(one + two + tar.END)) == ["release.json", "transport.json"]
    for wrong in (two + one, one + one):
        with pytest.raises(MalformedBundle, match="out of order"):
            read(wrong + tar.END)


def test_a_sparse_giant_is_refused_by_its_announced_size(tmp_path: Path) -> None:
    path = tmp_path / "x.sealift"
    with path.open("wb") as stream:
        stream.write(tar.header(layout.object_(A), 2**33 - 1))
        stream.truncate(2**40)
    with path.open("rb") as stream, pytest.raises(MalformedBundle):
        tar.read_index(stream, 2**40)
    huge = tar.header("release.json", layout.MAX_DOCUMENT_BYTES + 1)
    with pytest.raises(MalformedBundle, match="at most 4194304 are permitted"):
        read(huge + bytes(1024))


def test_a_header_that_announces_more_than_the_file_has_is_refused() -> None:
    with pytest.raises(MalformedBundle, match="the file ends before"):
        read(tar.header("release.json", 4096) + bytes(1024))


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"5", b"6", b"x", b"g", b"L", b"\0"])
def test_links_devices_folders_and_extensions_cannot_be_expressed(kind: bytes) -> None:
    block = bytearray(tar.header("release.json", 0))
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block)
    with pytest.raises(MalformedBundle, match="not a tar header in its one permitted form"):
        read(bytes(block) + tar.END)
