"""A delta beside the full bundle: bytes to carry, time to make and to apply, peak memory; rsync where it is at hand.

Given two bundles (OLD NEW, full ones), or built: wheels of two versions from PyPI, unpacked, and a model of which some
tensors learned.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from sealift.bundle import encode
from sealift.bundle.bases import BundleObjects, manifest_in
from sealift.bundle.documents import LAYERS
from sealift.bundle.read import UnverifiedBundle, copy_from, read_bundle
from sealift.bundle.source import open_source
from sealift.bundle.transport import PATCH
from sealift.bundle.write import Endorse
from sealift.events import Silent
from sealift.pack.pack import Packed, Parts, pack
from sealift.pack.sequence import Entry

OLD_WHEELS = ("numpy==2.3.4", "onnxruntime==1.23.1", "cryptography==46.0.2")
NEW_WHEELS = ("numpy==2.3.5", "onnxruntime==1.23.2", "cryptography==46.0.3")
MODEL_MB = 40
TENSOR = 1 << 20
LEARNED_ONE_IN = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", type=Path, metavar="OLD NEW", help="two full bundles")
    parser.add_argument("--old", nargs="*", default=OLD_WHEELS, metavar="WHEEL==VERSION")
    parser.add_argument("--new", nargs="*", default=NEW_WHEELS, metavar="WHEEL==VERSION")
    parser.add_argument("--model-mb", type=int, default=MODEL_MB)
    parser.add_argument("--levels", nargs="*", type=int, default=[encode.LEVEL], help="zstd levels to try")
    parser.add_argument(
        "--apply", nargs=3, type=Path, metavar=("BUNDLE", "OLD", "FOLDER"), help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.apply:
        apply(*args.apply)
        return
    folder = Path(tempfile.mkdtemp(prefix="sealift-delta-"))
    try:
        trees = given(args.bundles, folder) if args.bundles else built(args, folder)
        compare(folder, trees, args.levels)
    finally:
        shutil.rmtree(folder)


def given(bundles: Sequence[Path], folder: Path) -> tuple[Path, Path]:
    """The trees of two bundles."""
    if len(bundles) != 2:
        raise SystemExit("give OLD and NEW, or none")
    for name, path in zip(("old", "new"), bundles, strict=True):
        bundle = read_bundle(open_source(path))
        for layer, files in bundle.manifests.items():
            (folder / name / layer).mkdir(parents=True, exist_ok=True)
            for file, entry in files.items():
                place = folder / name / layer / file
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as sink:
                    copy_from(bundle, entry.sha256, sink)
                place.chmod(0o755 if entry.executable else 0o644)
    return folder / "old", folder / "new"


def built(args: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Two trees: wheels, and a model."""
    for name, wheels in (("old", args.old), ("new", args.new)):
        for layer in LAYERS:
            (folder / name / layer).mkdir(parents=True)
        place = folder / f"{name}-wheels"
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
            place,
        ]
        subprocess.run([*map(str, command), *wheels], check=True, stderr=subprocess.DEVNULL)
        for wheel in sorted(place.iterdir()):
            zipfile.ZipFile(wheel).extractall(folder / name / "dependencies")
        model = folder / name / "application" / "models" / "m" / "model.onnx"
        model.parent.mkdir(parents=True)
        with model.open("wb") as stream:
            stream.writelines(weights(args.model_mb, learned=name == "new"))
    return folder / "old", folder / "new"


def weights(megabytes: int, *, learned: bool) -> Iterable[bytes]:
    """Tensors of a mebibyte each; one in twenty is another after learning."""
    for number in range(megabytes):
        changed = learned and number % LEARNED_ONE_IN == 3
        yield random.Random(number + 10_000 * changed).randbytes(TENSOR)


def packed(folder: Path, name: str, tree: Path, seq: int, old: Path | None = None) -> tuple[Packed, float]:
    """An unsigned bundle of a tree, as one file, and the seconds that it took."""
    parts = Parts("bench", f"{seq}", tree, {}, {}, {}, lambda _: b"{}")
    olds = [read_bundle(open_source(old))] if old is not None else []
    endorse = Endorse(lambda _: (), ())
    began = time.perf_counter()
    made = pack(
        parts,
        folder / f"{name}.sealift",
        endorse,
        lambda _: Entry(seq, "2026-11-22T17:00:00Z"),
        Silent(),
        olds,
    )
    return made, time.perf_counter() - began


def compare(folder: Path, trees: tuple[Path, Path], levels: Sequence[int]) -> None:
    """Everything side by side."""
    old, _ = packed(folder, "old", trees[0], 1)
    full, full_s = packed(folder, "full", trees[1], 2)
    rows: list[tuple[str, ...]] = [("", "MB to carry", "of full", "packed in", "applied in", "peak memory")]
    rows.append(row("full bundle", full.path, full.path, full_s, applied(full.path, old.path)))
    deltas = []
    for level in levels:
        vars(encode)["LEVEL"] = level  # of the whole objects of the delta, too
        delta, delta_s = packed(folder, f"delta-{level}", trees[1], 2, old.path)
        deltas.append(delta)
        name = f"delta, level {level}"
        rows.append(row(name, delta.path, full.path, delta_s, applied(delta.path, old.path)))
    if (literal := rsync(folder, trees)) is not None:
        rows.append(("rsync, literal data", f"{literal / 1e6:.2f}", share(literal, full.path), "", "", ""))
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
    for line in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    for layer in deltas[0].explanation.layers:
        print(
            f"{layer.name}: {layer.files} files, {layer.size / 1e6:.1f} MB, "
            f"the box has {layer.left_out_size / 1e6:.1f}; objects {layer.stored_size / 1e6:.2f}, "
            f"manifest {layer.manifest_size / 1e6:.2f}; {dict(layer.codecs)}"
        )
    for part in deltas[0].explanation.parts[:8]:
        print(
            f"  {part.stored_size / 1e6:8.3f} of {part.size / 1e6:8.2f} MB  {part.codec:<11} {part.path}  {part.why}"
        )


def row(name: str, path: Path, full: Path, seconds: float, facts: tuple[float, float]) -> tuple[str, ...]:
    """One line of the table."""
    size = path.stat().st_size
    return (
        name, f"{size / 1e6:.2f}", share(size, full), f"{seconds:.1f} s", f"{facts[0]:.1f} s", f"{facts[1]:.0f} MB",
    )  # fmt: skip


def share(size: int, full: Path) -> str:
    """Of the full bundle."""
    return f"{100 * size / full.stat().st_size:.1f} %"


def applied(bundle: Path, old: Path) -> tuple[float, float]:
    """(seconds, peak resident megabytes) of decoding every object in a process of its own."""
    with tempfile.TemporaryDirectory(dir=bundle.parent) as folder:
        command = [sys.executable, __file__, "--apply", str(bundle), str(old), folder]
        seconds, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(peak)


def apply(path: Path, old: Path, folder: Path) -> None:
    """As a box stages it: each object to a file, one after the other; what the box has is made ready before."""
    older = read_bundle(open_source(old))
    bundle = read_bundle(open_source(path), lambda digest: manifest_in(older, digest))
    base = BundleObjects([older], folder)
    for stored in bundle.objects.values():
        if stored.codec == PATCH and stored.source is not None:
            base(stored.source)
    began = time.perf_counter()
    for sha256 in bundle.objects:
        with (folder / "out").open("wb") as sink:
            copy_from(bundle, sha256, sink, base)
    seconds = time.perf_counter() - began
    require_whole(bundle, older)
    status = Path("/proc/self/status").read_text()
    print(seconds, int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6)


def require_whole(bundle: UnverifiedBundle, older: UnverifiedBundle) -> None:
    """Nothing that is left out is missing from the base."""
    if missing := [sha256 for sha256 in bundle.absent if sha256 not in older.objects]:
        raise SystemExit(f"{len(missing)} objects are nowhere")


def rsync(folder: Path, trees: tuple[Path, Path]) -> int | None:
    """The bytes that rsync would send to make the old tree the new one, uncompressed; None without rsync."""
    if shutil.which("rsync") is None:
        print("rsync is not at hand: no line for it")
        return None
    shutil.copytree(trees[0], folder / "rsync")
    command = [
        "rsync",
        "-a",
        "--checksum",
        "--no-whole-file",
        "--delete",
        "--stats",
        f"{trees[1]}/",
        str(folder / "rsync"),
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(said.partition("Literal data: ")[2].split()[0].replace(",", ""))


if __name__ == "__main__":
    main()
