"""Verifying a bundle beside plain hashing of the same bytes on two threads; peak memory; 30,000 small files."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sealift.bundle import layout, tar
from sealift.bundle.documents import LAYERS, FileEntry, LayerRef, Release, encode_manifest
from sealift.bundle.read import read_bundle, verify, verify_objects
from sealift.bundle.source import open_source
from sealift.bundle.transport import StoredObject, Transport
from sealift.seal.keyfile import generate
from sealift.trust.keys import RELEASE_CONTEXT, TRANSPORT_CONTEXT, signatures_to_json
from sealift.trust.root import Root, SignedRoot, decode_root
from sealift.trust.vouch import Policy

GIB = 1 << 30
ROUNDS = 5
SMALL_FILES = 30_000
CHUNK = 1 << 20
SIZES = (1 << 28, 1 << 26, 1 << 24, 5_000_000, 1 << 20, 300_000, 64_000, 9_000, 700)
"""Mixed as in a real release: a few large files, many small ones."""


def sizes_of(total: int) -> list[int]:
    """Sizes that add up to `total`."""
    found: list[int] = []
    room = total
    while room >= min(SIZES):
        for size in SIZES:
            if size <= room:
                found.append(size)
                room -= size
    return found


def write_bundle(path: Path, sizes: list[int]) -> Path:
    """A signed container of incompressible objects of these sizes; returns the path of its root."""
    draw, data = random.Random(1), path.with_suffix(".data")
    entries: dict[str, FileEntry] = {}
    with data.open("wb") as stream:
        for number, size in enumerate(sizes):
            hasher = hashlib.sha256()
            for start in range(0, size, CHUNK):
                block = draw.randbytes(min(CHUNK, size - start))
                hasher.update(block)
                stream.write(block)
            name = f"package{number // 100}/folder{number // 10 % 10}/file{number}.bin"
            entries[name] = FileEntry(hasher.hexdigest(), size, False)
    parts, root = documents_of(entries)
    offsets, position = {}, 0
    for entry in entries.values():
        offsets[layout.object_(entry.sha256)] = (position, entry.size)
        position += entry.size
    with path.open("wb") as out, data.open("rb") as stream:
        whole = [(name, len(raw), iter((raw,))) for name, raw in parts.items()]
        whole += [(name, size, piece(stream, at, size)) for name, (at, size) in offsets.items()]
        tar.write_parts(out, whole)
    data.unlink()
    place = path.with_suffix(".root.json")
    place.write_bytes(root.encode())
    return place


def piece(stream, at: int, size: int) -> Iterator[bytes]:  # type: ignore[no-untyped-def]
    """A stretch of a file in chunks."""
    stream.seek(at)
    for start in range(0, size, CHUNK):
        yield stream.read(min(CHUNK, size - start))


def documents_of(entries: dict[str, FileEntry]) -> tuple[dict[str, bytes], SignedRoot]:
    """Every part but the objects, signed by new keys."""
    manifests = {layer: encode_manifest(entries if layer == "application" else {}) for layer in LAYERS}
    digests = {layer: hashlib.sha256(raw).hexdigest() for layer, raw in manifests.items()}
    total = sum(entry.size for entry in entries.values())
    refs = {layer: LayerRef(digests[layer], 0, 0) for layer in LAYERS}
    refs["application"] = LayerRef(digests["application"], len(entries), total)
    release = Release("bench", "1", 1, 0, "0", "2026-11-22T17:00:00Z", {}, refs, {}, {}, total)
    stored = {
        entry.sha256: StoredObject("raw", entry.size, entry.size, entry.sha256) for entry in entries.values()
    }
    transport = Transport(release.identity, tuple(sorted(set(digests.values()))), stored).encode()
    root_key, key = generate(), generate()
    keys = {item.public.key_id: item.public for item in (root_key, key)}
    root = Root(1, keys, (root_key.public.key_id,), 1, {key.public.key_id: ("*",)}, 1)
    signed = SignedRoot(root, (root_key.sign(root.message()),))
    release_signatures = signatures_to_json([key.sign(RELEASE_CONTEXT + release.encode())])
    transport_signatures = signatures_to_json([key.sign(TRANSPORT_CONTEXT + transport)])
    return {
        layout.RELEASE: release.encode(),
        layout.RELEASE_SIGNATURES: dumped({"approvals": [], "signatures": release_signatures}),
        layout.TRANSPORT: transport,
        layout.TRANSPORT_SIGNATURES: dumped({"signatures": transport_signatures}),
        layout.root(1): signed.encode(),
    } | {layout.manifest(digests[layer]): raw for layer, raw in manifests.items()}, signed


def dumped(value: object) -> bytes:
    """Canonical for these documents."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def verified(path: Path, root: Path) -> float:
    """Seconds of a whole verification: index, documents, signatures, every object."""
    began = time.perf_counter()
    bundle = read_bundle(open_source(path))
    verify_objects(verify(bundle, decode_root(root.read_bytes()).root, Policy()).bundle)
    return time.perf_counter() - began


def hashed(path: Path) -> float:
    """Seconds of sha256 over the same bytes on two threads, each one half of the file; nothing else."""
    size = path.stat().st_size
    half = size // 2

    def part(start: int, end: int) -> None:
        hasher, buffer = hashlib.sha256(), bytearray(CHUNK)
        with path.open("rb", buffering=0) as stream:
            stream.seek(start)
            while start < end:
                got = stream.readinto(memoryview(buffer)[: min(CHUNK, end - start)]) or 0
                hasher.update(memoryview(buffer)[:got])
                start += got

    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(part, (0, half), (half, size)))
    return time.perf_counter() - began


def in_a_process(path: Path, root: Path) -> tuple[float, float]:
    """(seconds, peak resident megabytes) of one verification in a process of its own."""
    command = [sys.executable, __file__, "--one", str(path), str(root)]
    seconds, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(peak)


def compare(folder: Path, total: int) -> None:
    """The large bundle: ratio and memory."""
    path = folder / "large.sealift"
    root = write_bundle(path, sizes_of(total))
    hashed(path)  # both read from the page cache
    rounds = [(verified(path, root), hashed(path)) for _ in range(ROUNDS)]
    ours, plain = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(mine / other for mine, other in rounds)
    _, peak = in_a_process(path, root)
    print(f"{total / GIB:.2f} GiB in {len(sizes_of(total))} objects, one file, warm, medians of {ROUNDS}")
    print(f"  verify             {ours:6.2f} s   {total / ours / 1e6:7.0f} MB/s")
    print(f"  sha256, 2 threads  {plain:6.2f} s   {total / plain / 1e6:7.0f} MB/s")
    print(f"  ratio              {ratio:6.2f}     (at most 1.3 is wanted)")
    print(f"  peak memory        {peak:6.0f} MB  (at most 100)")


def many(folder: Path) -> None:
    """The bundle of many small files."""
    path = folder / "many.sealift"
    root = write_bundle(path, [200 + number % 800 for number in range(SMALL_FILES)])
    rounds = [in_a_process(path, root) for _ in range(3)]
    seconds = statistics.median(first for first, _ in rounds)
    print(f"{SMALL_FILES:,} files of 200 to 999 bytes, one file, medians of 3 processes")
    print(f"  verify             {seconds:6.2f} s   (at most 3 is wanted)")
    print(f"  peak memory        {max(peak for _, peak in rounds):6.0f} MB")


def main() -> None:
    """Make the bundles below /tmp, measure, remove them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the large bundle")
    parser.add_argument("--one", nargs=2, type=Path, metavar=("BUNDLE", "ROOT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        seconds = verified(*args.one)
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
        return
    folder = Path(tempfile.mkdtemp(prefix="sealift-verify-"))
    try:
        compare(folder, args.mib << 20)
        many(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
