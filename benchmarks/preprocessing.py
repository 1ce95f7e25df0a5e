"""`{"image": base64}` -> the tensor of EfficientNet-Lite0: plain Pillow code beside sealift's two ways.

All ways run in turn in one process, with one and with two threads; medians and ratios. The heap is set as a worker
sets it (`serve/heap.py`), for every way alike; `--plain-heap` leaves it as the C library has it.
"""

from __future__ import annotations

import base64
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sealift.model.declaration import ImageInput
from sealift.model.image import ImagePreparation, photo_in_json
from sealift.model.signature import TensorSpec
from sealift.serve.heap import keep_freed_memory

ROUNDS = 15
SHARE_S = 0.15
SIZES = {"500 x 375": (500, 375), "4000 x 3000": (4000, 3000)}
Way = Callable[[bytes], NDArray[np.float32]]


def photo(width: int, height: int) -> bytes:
    """Photo-like: smooth colours with fine noise, as ../bench/peers makes its own; JPEG, quality 90."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(
        np.int16
    )
    pixels = np.clip(large + rng.normal(0, 6, large.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def plain(body: bytes) -> NDArray[np.float32]:
    """What a Flask script does: json, base64, Pillow, numpy."""
    data = base64.b64decode(json.loads(body)["image"])
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return np.ascontiguousarray(((pixels - 127) / 128).transpose(2, 0, 1)[None])


def sealift(decode: str) -> Way:
    """What a worker does."""
    declared = ImageInput(
        size=(224, 224), resize=256, interpolation="bicubic", mean=(127.0,), std=(128.0,), decode=decode
    )
    prepare = ImagePreparation(declared, TensorSpec(name="x", datatype="FP32", shape=("n", 3, 224, 224)))

    def way(body: bytes) -> NDArray[np.float32]:
        return prepare(photo_in_json(body)).inputs["x"]

    return way


def per_photo(way: Way, body: bytes, threads: int) -> float:
    """Seconds of wall clock for one photo with `threads` threads at work."""

    def work() -> int:
        done, end = 0, time.perf_counter() + SHARE_S
        while time.perf_counter() < end:
            way(body)
            done += 1
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(future.result() for future in [pool.submit(work) for _ in range(threads)])
    return (time.perf_counter() - began) / done


def main() -> None:
    """Print one row a size and number of threads."""
    if "--plain-heap" not in sys.argv:
        keep_freed_memory()
    ways: dict[str, Way] = {"Pillow": plain, "exact": sealift("exact"), "fast": sealift("fast")}
    print(
        f"{'photo':<12} {'threads':>7}" + "".join(f" {name + ' ms':>10}" for name in ways) + "  Pillow/fast"
    )
    for size, sides in SIZES.items():
        body = json.dumps({"image": base64.b64encode(photo(*sides)).decode()}).encode()
        for threads in (1, 2):
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    times[name].append(per_photo(way, body, threads))
            medians = {name: statistics.median(values) * 1000 for name, values in times.items()}
            row = "".join(f" {value:>10.2f}" for value in medians.values())
            print(f"{size:<12} {threads:>7}{row} {medians['Pillow'] / medians['fast']:>12.2f}")


if __name__ == "__main__":
    main()
