"""The window of a block follows what moved; where nothing tells, it stays at the same offset."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sealift.bundle.encode import Old, even_places, write_patch
from sealift.bundle.frames import BASE_WINDOW, BLOCK
from sealift.pack.places import choose_places

MIB = 1 << 20


def noise(size: int, seed: int = 1) -> bytes:
    return hashlib.shake_256(bytes([seed])).digest(size)


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def patch_size(folder: Path, new: Path, base: Path, at: list[int]) -> int:
    write_patch(new, new.stat().st_size, Old("", base, at), folder / "patch")
    return (folder / "patch").stat().st_size


def test_a_small_base_is_used_whole(tmp_path: Path) -> None:
    base, new = written(tmp_path, "base", noise(3000)), written(tmp_path, "new", noise(5000))
    assert choose_places(new, 5000, base) == [0]
    assert choose_places(written(tmp_path, "empty", b""), 0, base) == []


@pytest.mark.slow
def test_what_was_put_in_at_the_front_does_not_hide_what_follows(tmp_path: Path) -> None:
    old, front = noise(40 * MIB), noise(24 * MIB, 2)
    base, new = written(tmp_path, "base", old), written(tmp_path, "new", front + old)
    at = choose_places(new, len(front + old), base)
    assert all(0 <= place <= len(old) - BASE_WINDOW for place in at)
    assert patch_size(tmp_path, new, base, at) < 24.1 * MIB
    assert patch_size(tmp_path, new, base, even_places(len(front + old), len(old))) > 40 * MIB


@pytest.mark.slow
def test_a_stretch_that_moved_to_the_end_is_found(tmp_path: Path) -> None:
    old = noise(40 * MIB)
    base, new = written(tmp_path, "base", old), written(tmp_path, "new", old[BLOCK:] + old[:BLOCK])
    assert patch_size(tmp_path, new, base, choose_places(new, len(old), base)) < 0.1 * MIB


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", [bytes(20 * MIB), b"0123456789abcdef" * (20 * MIB // 16)], ids=["zeros", "one word"]
)
def test_a_file_without_anchors_keeps_its_offsets(tmp_path: Path, what: bytes) -> None:
    base = written(tmp_path, "base", what)
    assert choose_places(base, len(what), base) == even_places(len(what), len(what))


@pytest.mark.slow
def test_unrelated_files_keep_their_offsets(tmp_path: Path) -> None:
    base, new = written(tmp_path, "base", noise(20 * MIB)), written(tmp_path, "new", noise(20 * MIB, 2))
    assert choose_places(new, 20 * MIB, base) == even_places(20 * MIB, 20 * MIB)
