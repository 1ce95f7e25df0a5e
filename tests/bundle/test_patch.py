"""A patch gives back exactly what was packed, from exactly what it was made from, in little memory."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealift.bundle import codec, encode, frames
from sealift.bundle.codec import copy_object
from sealift.bundle.encode import FROM_BYTES, Old, even_places, store_smallest, write_patch
from sealift.bundle.frames import BASE_WINDOW, BLOCK, read_frames
from sealift.bundle.transport import StoredObject
from sealift.errors import BundleError, DigestMismatch, MalformedBundle, MissingPart
from sealift.pack import places

SMALL_BLOCK, SMALL_WINDOW = 64, 128
Edit = Callable[[bytes], bytes]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def noise(size: int, seed: int = 1) -> bytes:
    return hashlib.shake_256(bytes([seed])).digest(size)


class Bench:
    """Two files and a patch between them."""

    def __init__(self, folder: Path, base: bytes, new: bytes, at: list[int] | None = None) -> None:
        self.base, self.new, self.patch = folder / "base", folder / "new", folder / "patch"
        self.base.write_bytes(base)
        self.new.write_bytes(new)
        self.data = new
        where = even_places(len(new), len(base)) if at is None else at
        write_patch(self.new, len(new), Old(digest(base), self.base, where), self.patch)
        raw = self.patch.read_bytes()
        self.item = StoredObject("zstd-prefix", len(new), len(raw), digest(raw), digest(base))

    @property
    def raw(self) -> bytes:
        return self.patch.read_bytes()

    def applied(self, raw: bytes | None = None, *, resigned: bool = False) -> bytes:
        """What comes out; `resigned`: a release key that went bad signed the changed bytes."""
        raw = self.raw if raw is None else raw
        item = replace(self.item, stored_size=len(raw), stored_sha256=digest(raw)) if resigned else self.item
        sink = io.BytesIO()
        copy_object(lambda: io.BytesIO(raw), item, digest(self.data), sink, self.base)
        return sink.getvalue()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 64 bytes and windows of 128: what takes megabytes otherwise."""
    for module in (codec, encode, frames, places):
        for name, value in (("BLOCK", SMALL_BLOCK), ("BASE_WINDOW", SMALL_WINDOW)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


@st.composite
def versions(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """An old file and a new one: stretches kept, moved, doubled, left out, changed or new."""
    base = draw(st.binary(max_size=8)) * draw(st.integers(0, 80)) + draw(st.binary(max_size=300))
    parts = []
    for _ in range(draw(st.integers(0, 6))):
        start, end = sorted(draw(st.tuples(st.integers(0, len(base)), st.integers(0, len(base)))))
        parts.append(draw(st.sampled_from([base[start:end], draw(st.binary(max_size=70)), base[end:]])))
    return base, b"".join(parts)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=versions())
def test_whatever_changed_applying_the_patch_gives_the_new_file(
    small_blocks: None, tmp_path: Path, pair: tuple[bytes, bytes]
) -> None:
    bench = Bench(tmp_path, *pair)
    assert bench.applied() == pair[1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=versions(), draw=st.data())
def test_any_permitted_place_will_do(
    small_blocks: None, tmp_path: Path, pair: tuple[bytes, bytes], draw: st.DataObject
) -> None:
    last = max(0, len(pair[0]) - SMALL_WINDOW)
    count = -(-len(pair[1]) // SMALL_BLOCK)
    at = draw.draw(st.lists(st.integers(0, last), min_size=count, max_size=count))
    assert Bench(tmp_path, *pair, at).applied() == pair[1]


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_sizes_at_the_border_of_a_block(small_blocks: None, tmp_path: Path, blocks: int, more: int) -> None:
    base = noise(400)
    new = base[10 : 10 + blocks * SMALL_BLOCK + more]
    bench = Bench(tmp_path, base, new)
    assert bench.applied() == new
    found = read_frames(io.BytesIO(bench.raw), bench.item, digest(new))
    assert len(found) == -(-len(new) // SMALL_BLOCK)
    assert sum(frame.size for frame in found) == len(new)


@pytest.mark.slow
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_real_border_of_a_block(tmp_path: Path, more: int) -> None:
    base = noise(BLOCK + 1000)
    new = base[500 : 500 + BLOCK + more] if more < 1 else base[500:] + noise(501, 2)
    bench = Bench(tmp_path, base, new)
    assert bench.applied() == new
    assert len(bench.raw) < 10_000
    assert len(read_frames(io.BytesIO(bench.raw), bench.item, digest(new))) == (2 if more == 1 else 1)


def test_the_same_files_give_the_same_patch(tmp_path: Path) -> None:
    base, new = noise(100_000), noise(60_000) + b"x" + noise(100_000)[60_000:]
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    assert len({Bench(folder, base, new).raw for folder in folders}) == 1


@pytest.mark.parametrize("start", [b"\x37\xa4\x30\xec", b"\x28\xb5\x2f\xfd", b""])
def test_a_base_that_looks_like_a_dictionary_is_taken_as_bytes(tmp_path: Path, start: bytes) -> None:
    base = start + noise(5000)
    assert (
        Bench(tmp_path, base, base[:3000] + b"x" + base[3000:]).applied() == base[:3000] + b"x" + base[3000:]
    )


@pytest.mark.parametrize("size", range(10))
def test_a_tiny_base_will_do_and_an_empty_one(tmp_path: Path, size: int) -> None:
    assert Bench(tmp_path, noise(size), b"word " * 50).applied() == b"word " * 50


def test_every_flipped_byte_of_a_patch_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, noise(3000), noise(1500) + b"some new words " * 9 + noise(3000)[1500:])
    for at in range(len(bench.raw)):
        with pytest.raises(DigestMismatch):
            bench.applied(bench.raw[:at] + bytes([bench.raw[at] ^ 0x10]) + bench.raw[at + 1 :])


def test_a_changed_patch_that_is_signed_gives_the_right_bytes_or_none(tmp_path: Path) -> None:
    """A bit of a frame may mean nothing: then what comes out is what was signed, to the byte."""
    bench = Bench(tmp_path, noise(3000), noise(1500) + b"some new words " * 9 + noise(3000)[1500:])
    draw = random.Random(1)
    for _ in range(400):
        at = draw.randrange(len(bench.raw))
        changed = bench.raw[:at] + bytes([draw.randrange(256)]) + bench.raw[at + draw.randint(0, 2) :]
        with contextlib.suppress(MalformedBundle, DigestMismatch):
            assert bench.applied(changed, resigned=True) == bench.data


@pytest.mark.parametrize(
    "other",
    [noise(3000, 2), noise(2999), noise(3001), b""],
    ids=["another base", "one cut off", "one with a byte more", "an empty one"],
)
def test_from_another_base_nothing_comes_out_but_a_refusal(tmp_path: Path, other: bytes) -> None:
    bench = Bench(tmp_path, noise(3000), noise(1500) + b"new" + noise(3000)[1500:])
    bench.base.write_bytes(other)
    with pytest.raises((MalformedBundle, DigestMismatch)):
        bench.applied()


def test_without_a_base_a_patch_is_not_decoded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, noise(300), noise(301))
    with pytest.raises(MissingPart, match="made from is not at hand"):
        copy_object(lambda: io.BytesIO(bench.raw), bench.item, digest(bench.data), None)
    bench.base.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        bench.applied()


def test_a_place_outside_of_the_base_is_refused(small_blocks: None, tmp_path: Path) -> None:
    base = noise(SMALL_WINDOW + 10)
    bench = Bench(tmp_path, base, base[:50])
    frame = bench.raw[8:]
    for place in (11, 2**63):
        with pytest.raises(MalformedBundle, match=f"refers to byte {place} of a base of 138"):
            bench.applied(place.to_bytes(8, "little") + frame, resigned=True)


def test_the_window_of_a_block_is_bounded(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=25)
    new = bytes(1 << 25)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compress(new)
    raw = bytes(8) + frame
    item = StoredObject("zstd-prefix", len(new), len(raw), digest(raw), "a" * 64)
    with pytest.raises(MalformedBundle, match=r"expected 8388608, at most 8388608, and no dictionary"):
        read_frames(io.BytesIO(raw), item, digest(new))


def test_the_smallest_is_kept_and_the_name_of_the_base_counts(tmp_path: Path) -> None:
    base, new = noise(5000), noise(5000)[:4000] + b"x"
    for name, data in (("base", base), ("new", new), ("other", noise(5000, 3)), ("words", b"word " * 900)):
        (tmp_path / name).write_bytes(data)

    def kept(name: str) -> StoredObject:
        data = (tmp_path / name).read_bytes()
        old = Old(digest(base), tmp_path / "base", [0])
        return store_smallest(tmp_path / name, digest(data), len(data), tmp_path, old).item

    assert (kept("new").codec, kept("new").source) == ("zstd-prefix", digest(base))
    assert kept("other") == StoredObject("raw", 5000, 5000, digest(noise(5000, 3)))
    words = kept("words")
    assert (words.codec, words.source) == ("zstd", None)
    assert words.stored_size < FROM_BYTES
    left = sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".patch")
    assert left == [f"{digest(new)}.patch"]


def test_places_are_in_the_base_and_cover_the_same_offset() -> None:
    base_size, size = 10 * BASE_WINDOW + 3, 9 * BASE_WINDOW
    for number, place in enumerate(even_places(size, base_size)):
        assert 0 <= place <= base_size - BASE_WINDOW
        assert place <= number * BLOCK
        assert (number + 1) * BLOCK <= place + BASE_WINDOW
    assert even_places(size, BASE_WINDOW) == [0] * (size // BLOCK)
    assert even_places(0, base_size) == []


APPLY = """
import sys
from pathlib import Path
from sealift.bundle.codec import copy_object
from sealift.bundle.transport import StoredObject
base, patch, new, item = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
stored = StoredObject("zstd-prefix", int(item[0]), int(item[1]), item[2], item[3])
with open(new, "wb") as sink:
    copy_object(lambda: open(patch, "rb"), stored, item[4], sink, Path(base))
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.slow
def test_a_patch_of_700_megabytes_is_applied_in_less_than_300(tmp_path: Path) -> None:
    """Weights of which some moved: mostly zeros on disk, so that the test is quick."""
    size, step = 700_000_000, 50_000_000
    base, new = tmp_path / "base", tmp_path / "new"
    for path, seed in ((base, 1), (new, 2)):
        with path.open("wb") as stream:
            for start in range(0, size, step):
                stream.seek(start)
                stream.write(noise(2_000_000) + noise(50_000, seed + start // step))
            stream.truncate(size)
    patch = tmp_path / "patch"
    write_patch(new, size, Old("", base, even_places(size, size)), patch)
    sums = [encode.digest_of(path) for path in (patch, base, new)]
    item = [str(size), str(patch.stat().st_size), *sums]
    argv = [sys.executable, "-c", APPLY, str(base), str(patch), str(tmp_path / "out"), *item]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert patch.stat().st_size < 2_000_000
    assert int(done.stdout) * 1024 < 300_000_000
    assert int(done.stdout) * 1024 < 100_000_000  # what it is, about
    assert encode.digest_of(tmp_path / "out") == sums[2]
