"""Attacks on objects: what lies in the bundle is not what was signed, or asks too much of who decodes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import zstandard
from tests.attacks.forge import FILES, MODEL, ONE, TWO, Doc, Forge, Parts
from tests.attacks.scene import Scene
from tests.attacks.table import attack

from sealift.bundle import layout

MODEL_BYTES = FILES["application/models/m/model.onnx"]
BIG = 1 << 40


def bent(scene: Scene, bend: Callable[[Parts], None]) -> Path:
    parts = Forge().parts()
    bend(parts)
    return scene.as_folder(parts)


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@attack("an edited object", 22, "expected 3000 bytes of that digest, found others")
def edited(scene: Scene) -> Path:
    parts = Forge().parts()
    parts[layout.object_(ONE)] = flip(parts[layout.object_(ONE)], 1500)
    return scene.as_file(parts)


@attack("an edited compressed object", 22, r"expected \d\d bytes of that digest, found others")
def edited_compressed(scene: Scene) -> Path:
    return bent(
        scene, lambda parts: parts.update({layout.object_(MODEL): flip(parts[layout.object_(MODEL)], 12)})
    )


@attack("a missing object", 12, "1 part.s. are missing")
def missing(scene: Scene) -> Path:
    parts = Forge().parts()
    del parts[layout.object_(ONE)]
    return scene.as_file(parts)


@attack("two objects swapped", 22, "expected 3000 bytes of that digest, found others")
def swapped(scene: Scene) -> Path:
    one, two = layout.object_(ONE), layout.object_(TWO)
    return bent(scene, lambda parts: parts.update({one: parts[two], two: parts[one]}))


@attack("an extra object", 11, "1 part.s. that it does not name")
def extra(scene: Scene) -> Path:
    return scene.as_file(Forge().parts() | {layout.object_("ab" * 32): b"stowaway"})


@attack("an extra object that transport.json names", 11, "1 problem.s.")
def extra_named(scene: Scene) -> Path:
    def bend(doc: Doc) -> None:
        doc["objects"]["ab" * 32] = {"codec": "raw", "size": 8, "stored_sha256": "ab" * 32, "stored_size": 8}

    parts = Forge(bend_transport=bend).parts()
    return scene.as_file(parts | {layout.object_("ab" * 32): b"stowaway"})


@attack("a truncated object", 11, "1 object.s. of another size")
def truncated(scene: Scene) -> Path:
    return bent(scene, lambda parts: parts.update({layout.object_(ONE): parts[layout.object_(ONE)][:-1]}))


@attack("a byte behind an object", 11, "expected 3000 bytes, found 3001")
def appended(scene: Scene) -> Path:
    return bent(scene, lambda parts: parts.update({layout.object_(ONE): parts[layout.object_(ONE)] + b"x"}))


@attack("an object announced with another size than its file", 11, "of another size there")
def other_size(scene: Scene) -> Path:
    def bend(doc: Doc) -> None:
        doc["objects"][MODEL]["size"] += 1

    return scene.as_file(Forge(bend_transport=bend).parts())


@attack("one digest with two sizes", 11, "models/m/one.bin: one digest with two sizes")
def two_sizes(scene: Scene) -> Path:
    def bend(doc: Doc) -> None:
        doc["files"]["models/m/again.bin"] = {"executable": False, "sha256": ONE, "size": 3001}

    return scene.as_file(Forge(bend_manifest=bend).parts())


@attack("a sparse object of 1 TiB, announced", 11, "size is 1099511627776, at most 8589934591 are permitted")
def giant_announced(scene: Scene) -> Path:
    def bend(doc: Doc) -> None:
        doc["objects"][ONE] |= {"size": BIG, "stored_size": BIG}

    return _sparse(scene.as_folder(Forge(bend_transport=bend).parts()))


@attack(
    "a sparse object of 1 TiB, not announced",
    11,
    "expected 3000 bytes, found 1099511627776",
)
def giant(scene: Scene) -> Path:
    return _sparse(scene.as_folder(Forge().parts()))


def _sparse(bundle: Path) -> Path:
    with (bundle / layout.object_(ONE)).open("r+b") as stream:
        stream.truncate(BIG)
    return bundle


def stored(scene: Scene, frame: bytes, codec: str = "zstd") -> Path:
    """A release key that went bad signs these bytes as the model."""
    return scene.as_file(Forge(stored={MODEL: (codec, frame)}).parts())


@attack("a decompression bomb", 11, "its zstd frame says 100000000 bytes")
def bomb(scene: Scene) -> Path:
    return stored(scene, zstandard.ZstdCompressor(level=19).compress(bytes(100_000_000))[:6000])


@attack("a decompression bomb that lies about its size", 11, "zstd: ")
def lying_bomb(scene: Scene) -> Path:
    frame = zstandard.ZstdCompressor(level=1).compress(bytes(10_000_000))
    size = len(MODEL_BYTES)
    # Magic, descriptor with a 4-byte content size, window, content size; then the blocks as they were.
    head = frame[:4] + bytes([0b1000_0000]) + bytes([0x50]) + size.to_bytes(4, "little")
    return stored(scene, head + frame[zstandard.frame_header_size(frame) :])


@attack("a window bomb", 11, "with a window of")
def window_bomb(scene: Scene) -> Path:
    size = len(MODEL_BYTES)
    packed = zstandard.ZstdCompressor(level=3).compress(MODEL_BYTES)
    # The same blocks under a header that asks for 2 GiB.
    head = packed[:4] + bytes([0b1000_0000]) + bytes([21 << 3]) + size.to_bytes(4, "little")
    return stored(scene, head + packed[zstandard.frame_header_size(packed) :])


@attack("a frame without a content size", 11, "its zstd frame says -?[0-9]+ bytes")
def no_content_size(scene: Scene) -> Path:
    return stored(scene, zstandard.ZstdCompressor(write_content_size=False).compress(MODEL_BYTES))


@attack("two frames in one object", 11, "its zstd frame ends at byte")
def two_frames(scene: Scene) -> Path:
    frame = zstandard.ZstdCompressor().compress(MODEL_BYTES)
    return stored(scene, frame + zstandard.ZstdCompressor().compress(b""))


@attack("bytes behind a frame that a decoder skips", 11, "its zstd frame ends at byte")
def skipped_frame(scene: Scene) -> Path:
    frame = zstandard.ZstdCompressor().compress(MODEL_BYTES)
    return stored(scene, frame + b"\x50\x2a\x4d\x18\x04\x00\x00\x00evil")


@attack("a frame whose checksum is cut off", 11, "checksum of a zstd frame is cut off")
def no_checksum(scene: Scene) -> Path:
    return stored(scene, zstandard.ZstdCompressor(write_checksum=True).compress(MODEL_BYTES)[:-4])


@attack("a skippable frame before the frame", 11, "not a zstd frame")
def leading_skippable(scene: Scene) -> Path:
    frame = zstandard.ZstdCompressor().compress(MODEL_BYTES)
    head = b"\x50\x2a\x4d\x18" + len(MODEL_BYTES).to_bytes(4, "little")  # the length that is looked for
    return stored(scene, head + frame)


@attack("a frame of other content", 22, "found others")
def other_content(scene: Scene) -> Path:
    return stored(scene, zstandard.ZstdCompressor().compress(MODEL_BYTES[:-1] + b"X"))


@attack("a compressed object that is no frame", 11, "not a zstd frame")
def no_frame(scene: Scene) -> Path:
    return stored(scene, b"hello, I am an ordinary file")


@attack("a codec that nobody knows", 11, "codec 'xz' is not known")
def unknown_codec(scene: Scene) -> Path:
    return stored(scene, b"x" * 100, "xz")


@attack("a raw object under another digest", 11, "a raw object is stored as itself")
def raw_other(scene: Scene) -> Path:
    return stored(scene, bytes(len(MODEL_BYTES)), "raw")


@attack("a compressed object larger than its file", 11, "must be smaller than the object")
def larger(scene: Scene) -> Path:
    return stored(scene, zstandard.ZstdCompressor().compress(MODEL_BYTES) + bytes(len(MODEL_BYTES)))
