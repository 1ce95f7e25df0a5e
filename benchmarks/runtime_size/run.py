"""What a service weighs: Lite0 with everything it runs on, beside what pip installs for the peers.

`run.py` measures ours; `run.py --peers` also downloads the peers' wheels (no PyTorch) from the configured index.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sealift.bundle.read import read_bundle
from sealift.bundle.source import open_source
from sealift.bundle.write import Endorse
from sealift.cli.assembling import assemble
from sealift.cli.pack import wheel_cache
from sealift.collect.pip_download import CollectOptions
from sealift.demo.material import Material, default_cache, fetch_wheels, read_material
from sealift.demo.project import build_model
from sealift.events import Silent
from sealift.inspect.heaviest import heaviest
from sealift.pack.pack import Parts, pack
from sealift.pack.sequence import Entry
from sealift.project.file import load_project
from sealift.target.host import own_python, read_host
from sealift.target.wish import target_for

MB = 1e6
ON_THE_MEDIUM_MB, ON_DISK_MB = 80, 250
PEERS = {
    "mosec": ("mosec",),
    "FastAPI + uvicorn": ("fastapi", "uvicorn"),
    "LitServe": ("litserve",),
    "MLServer": ("mlserver",),
    "BentoML": ("bentoml",),
    "Ray Serve": ("ray[serve]",),
}
"""Each with `ENGINE` beside it: what the same service takes on it, without an interpreter."""
ENGINE = ("onnxruntime", "pillow", "numpy")
PROJECT = """\
[project]
name = "lite0"
version = "1.0"

[target]
interpreter = "bundled"

[model]
path = "model.onnx"
license = "Apache-2.0"

[model.input]
kind = "image"
size = [224, 224]
resize = 256
interpolation = "bicubic"
mean = [127, 127, 127]
std = [128, 128, 128]

[model.output]
kind = "classes"
labels = "labels.txt"
top = 5
"""


class Photos:
    """onnxruntime's reader of calibration data."""

    def __init__(self, material: Material, name: str) -> None:
        self._left = [{name: as_input(photo)} for photo in material.photos.values()]

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return self._left.pop() if self._left else None


def as_input(photo: bytes) -> NDArray[np.float32]:
    """Roughly what the service does: only the size of the quantised file matters here."""
    image = Image.open(io.BytesIO(photo)).convert("RGB").resize((224, 224))
    pixels = (np.asarray(image, np.float32) - 127) / 128
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def write_project(folder: Path) -> Path:
    """Lite0 in static INT8, its labels, and no package of its own."""
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    fetch_wheels(default_cache())
    material = read_material(default_cache())
    folder.mkdir()
    (folder / "sealift.toml").write_text(PROJECT)
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in material.labels))
    plain = folder / "plain.onnx"
    plain.write_bytes(build_model(material))
    name = ort.InferenceSession(plain, providers=["CPUExecutionProvider"]).get_inputs()[0].name

    class Reader(Photos, CalibrationDataReader):  # type: ignore[misc]
        """Both: the library asks for its own class."""

    quantize_static(
        plain, folder / "model.onnx", Reader(material, name), quant_format=QuantFormat.QDQ, per_channel=True
    )
    plain.unlink()
    return folder


def ours(scratch: Path) -> tuple[float, float]:
    """Pack Lite0 with a bundled interpreter; returns megabytes on the medium and on disk, and prints the parts."""
    project = load_project(write_project(scratch / "project"))
    target = target_for(project.target, read_host(), own_python())
    options = CollectOptions(folder=scratch / "wheels", cache=wheel_cache())
    made = assemble(project, target, scratch / "tree", options)
    parts = Parts(
        product=project.name,
        version=project.version,
        tree=made.tree,
        target=made.target.to_json(),
        checks=made.checks,
        provenance=made.provenance,
        bill=made.bill,
    )
    place = scratch / "lite0.sealift"
    endorse = Endorse(lambda _: (), (), lambda _: None)
    pack(parts, place, endorse, lambda _: Entry(1, "2026-01-01T00:00:00Z"), Silent())
    bundle = read_bundle(open_source(place))
    for part in heaviest(bundle.manifests)[:12]:
        print(f"  {part.name:16}{part.layer:14}{part.files:6} files{part.size / MB:8.1f} MB")
    for note in made.notes:
        print(f"  note: {note}")
    return place.stat().st_size / MB, bundle.release.total_size / MB


def peer(packages: tuple[str, ...], scratch: Path) -> tuple[float, float]:
    """Megabytes of the wheels, and of what pip makes of them, compiled, with the same engine beside it."""
    wheels, installed = scratch / "wheels", scratch / "installed"
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    wanted = [*packages, *ENGINE]
    subprocess.run([*pip, "download", "--only-binary", ":all:", "-d", str(wheels), *wanted], check=True)
    local = ["--no-index", "--find-links", str(wheels), "--target", str(installed)]
    subprocess.run([*pip, "install", *local, *wanted], check=True)
    return size_of(wheels), size_of(installed)


def size_of(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MB


def main() -> int:
    """Print the table; returns 1 where ours is above its bounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--peers", action="store_true", help="also install the peers' packages, without PyTorch"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runtime-size-") as folder:
        medium, disk = ours(Path(folder))
    print(f"{'':26}{'on the medium':>16}{'on disk':>10}   (bounds {ON_THE_MEDIUM_MB} and {ON_DISK_MB} MB)")
    print(f"{'sealift, with Python':26}{medium:13.1f} MB{disk:7.1f} MB")
    for name, packages in PEERS.items() if args.peers else ():
        with tempfile.TemporaryDirectory(prefix="runtime-size-") as folder:
            try:
                wheels, installed = peer(packages, Path(folder))
            except subprocess.CalledProcessError:
                print(f"{name + ', no Python':26}  is not to be had here as wheels")
                continue
        print(f"{name + ', no Python':26}{wheels:13.1f} MB{installed:7.1f} MB")
    return int(medium > ON_THE_MEDIUM_MB or disk > ON_DISK_MB)


if __name__ == "__main__":
    sys.exit(main())
