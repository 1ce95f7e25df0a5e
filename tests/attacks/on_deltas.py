"""Attacks on deltas: patches that ask too much, are made from the wrong thing, or of what the box never had."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard
from tests.attacks.forge import (
    FILES,
    MODEL,
    OLD_FILES,
    ONE,
    ONE_PATH,
    TWO,
    Doc,
    delta,
    frame_of,
    old_base,
    patch_of,
)
from tests.attacks.scene import Scene
from tests.attacks.table import attack

from sealift.bundle import layout

NEW, OLD = FILES[ONE_PATH], OLD_FILES[ONE_PATH]
OLD_ONE = hashlib.sha256(OLD).hexdigest()
PLACE = bytes(8)
BLOCK = 1 << 23
ANOTHER = "ab" * 32
MADE_FOR = r"made for a box that has fraud 5\.0 \(sha256:[0-9a-f]{4}-[0-9a-f]{4}\)"


def _patch(name: str, words: str, patch: bytes, code: int = 11) -> None:
    """A release key that went bad signs these bytes as the patch of ONE."""

    @attack(name, code, words)
    def make(scene: Scene) -> Path:
        return scene.as_file(delta(patch).parts())


def _header(data: bytes, head: bytes, old: bytes = OLD) -> bytes:
    """The blocks of a frame under another header: descriptor and what follows it."""
    frame = frame_of(data, old)
    return frame[:4] + head + frame[zstandard.frame_header_size(frame) :]


SIZE = len(NEW).to_bytes(4, "little")
_patch(
    "a patch with a window bomb", "with a window of", PLACE + _header(NEW, b"\x80" + bytes([21 << 3]) + SIZE)
)
_patch("a patch that names a dictionary", "and no dictionary", PLACE + _header(NEW, b"\xa1\x07" + SIZE))
_patch(
    "a patch without a content size", r"its zstd frame says -?\d+ bytes",
    PLACE + frame_of(NEW, OLD, write_content_size=False),
)  # fmt: skip
_patch(
    "a patch that is a bomb",
    "its zstd frame says 100000000 bytes",
    PLACE + frame_of(bytes(100_000_000))[:900],
)
_patch(
    "two frames in a patch of one block", "its zstd frame ends at byte", patch_of(NEW, OLD) + frame_of(b"")
)
_patch("a block more in a patch", "its zstd frame ends at byte", patch_of(NEW, OLD) + patch_of(b"more", OLD))
_patch("a byte behind a patch", "its zstd frame ends at byte", patch_of(NEW, OLD) + b"x")
_patch("a skippable frame in a patch", "not a zstd frame", PLACE + b"\x50\x2a\x4d\x18\x04\x00\x00\x00evil")
_patch("a patch without a place", "not a zstd frame", frame_of(NEW, OLD) + PLACE)
_patch("a patch that is only half a place", "a block of the patch is missing", bytes(4))
_patch("a patch cut off", "a damaged zstd block", patch_of(NEW, OLD)[:-3])
_patch(
    "a patch whose checksum is cut off", "checksum of a zstd frame is cut off",
    PLACE + frame_of(NEW, OLD, write_checksum=True)[:-4],
)  # fmt: skip
_patch("a patch with a place behind the base", r"refers to byte 1 of a base of 3004", patch_of(NEW, OLD, 1))
_patch(
    "a patch of a place out of the world",
    "refers to byte 18446744073709551615",
    b"\xff" * 8 + frame_of(NEW, OLD),
)
_patch("a patch of other content", "expected 3000 bytes of that digest", patch_of(NEW[:-1] + b"X", OLD), 22)
_patch("a patch larger than its file", "must be smaller than the object", PLACE + frame_of(NEW))


@attack("an edited patch", 22, r"expected \d\d bytes of that digest, found others")
def edited(scene: Scene) -> Path:
    parts = delta().parts()
    data = parts[layout.object_(ONE)]
    parts[layout.object_(ONE)] = data[:9] + bytes([data[9] ^ 1]) + data[10:]
    return scene.as_file(parts)


def _large(name: str, words: str, patch: Callable[[bytes, bytes], bytes]) -> None:
    """An object of two blocks."""

    @attack(name, 11, words)
    def make(scene: Scene) -> Path:
        data = bytes(BLOCK) + b"the second block"
        sha256 = hashlib.sha256(data).hexdigest()
        made = patch(data[:BLOCK], data[BLOCK:])
        forge = delta(files=FILES | {"application/models/m/large.bin": data})
        stored = {**forge.stored, sha256: ("zstd-prefix", made)}
        return scene.as_file(
            delta(files=forge.files, stored=stored, of={**forge.of, sha256: OLD_ONE}).parts()
        )


_large("a block less in a patch", "a block of the patch is missing", lambda one, _: patch_of(one, OLD))
_large(
    "one frame for two blocks of a patch",
    r"its zstd frame says 8388624 bytes .* expected 8388608",
    lambda one, two: patch_of(one + two, OLD),
)
_large(
    "blocks of a patch of other lengths",
    r"its zstd frame says 16 bytes .* expected 8388608",
    lambda one, two: patch_of(two, OLD) + patch_of(one, OLD),
)


def _made_of(name: str, words: str, of: dict[str, str], code: int = 11) -> None:
    """Patches of TWO and ONE that say they are made of something else."""

    @attack(name, code, words)
    def make(scene: Scene) -> Path:
        stored = {sha256: ("zstd-prefix", patch_of(NEW, OLD)) for sha256 in of}
        return scene.as_file(delta(stored=stored, of=of).parts())


TRAVELS = "an object that travels itself"
_made_of("a patch made of itself", TRAVELS, {ONE: ONE})
_made_of("two patches made of each other", TRAVELS, {ONE: TWO, TWO: ONE})
_made_of("a patch made of a patch", TRAVELS, {ONE: OLD_ONE, TWO: ONE})
_made_of("a patch made of an object that travels", TRAVELS, {ONE: MODEL})
_made_of("a patch of an object of no base", f"is not here, and this delta is {MADE_FOR}", {ONE: ANOTHER}, 12)
_made_of("a patch of no digest", "from is '../x'", {ONE: "../x"})


def _bases(name: str, words: str, bend: Callable[[Doc], Any], code: int = 11) -> None:
    @attack(name, code, words)
    def make(scene: Scene) -> Path:
        return scene.as_file(delta(bend_transport=bend).parts())


def _set(*bases: Doc) -> Callable[[Doc], None]:
    return lambda doc: doc.update(bases=list(bases))


ORDER = "bases are not in order, stand twice, or are not 1 to 16"
_bases("bases out of order", ORDER, _set(old_base(), old_base(identity="0" * 64)))
_bases("a base twice", ORDER, _set(old_base(), old_base()))
_bases("a delta without bases", ORDER, _set())
_bases("more bases than anybody may name", ORDER, _set(*(old_base(identity=f"{n:064x}") for n in range(17))))
_bases("a base with a key too many", "unknown keys", _set(old_base(product="fraud")))
_bases("a base with a version named like a path", "version is '../5'", _set(old_base(version="../5")))
_bases(
    "a delta from itself", "cannot be a base of",
    lambda doc: doc.update(bases=[old_base(identity=doc["release"])]),
)  # fmt: skip
_bases("a delta from a later release", "cannot be a base of", _set(old_base(seq=7)))
_bases(
    "bases in a full bundle",
    r"unknown keys \['bases'\]",
    lambda doc: doc.update(format="sealift-transport/1"),
)


@attack("a patch in a full bundle", 11, r"unknown keys \['from'\]")
def patch_in_full(scene: Scene) -> Path:
    return scene.as_file(delta(bases=()).parts())


@attack("a codec of a delta in a full bundle", 11, "codec 'zstd-prefix' is not known")
def codec_in_full(scene: Scene) -> Path:
    return scene.as_file(delta(bases=(), of={}).parts())


@attack("whole objects that name a base", 11, r"unknown keys \['from'\]")
def whole_with_base(scene: Scene) -> Path:
    forge = delta()
    return scene.as_file(delta(of={**forge.of, TWO: OLD_ONE}).parts())


@attack("a delta that leaves out what its base has not", 12, MADE_FOR, about_bytes=False)
def leaves_out_too_much(scene: Scene) -> Path:
    forge = delta()
    return scene.as_file(delta(at_home={*forge.at_home, MODEL}).parts())


def _in_store(scene: Scene, sha256: str) -> Path:
    found: Path = next((scene.prefix / "store").rglob(f"{sha256}*"))
    return found


@attack(
    "a delta for a box whose base is damaged",
    22,
    f"is damaged .* this delta is {MADE_FOR}",
    about_bytes=False,
)
def damaged_base(scene: Scene) -> Path:
    path = _in_store(scene, OLD_ONE)
    path.chmod(0o644)
    path.write_bytes(OLD[:-1] + b"?")
    path.chmod(0o444)
    return scene.as_file(delta().parts())


@attack(
    "a delta for a box whose base is gone",
    12,
    f"is not here, and this delta is {MADE_FOR}",
    about_bytes=False,
)
def lost_base(scene: Scene) -> Path:
    _in_store(scene, OLD_ONE).unlink()
    return scene.as_file(delta().parts())
