"""The fast way of a JPEG against Pillow's: how far they are apart, and that every fault is told alike."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sealift.errors import InvalidInput, RequestError, TooLarge
from sealift.model import jpeg, resample
from sealift.model.declaration import ImageInput
from sealift.model.image import ImagePreparation, photo_bytes, photo_in_json, photo_pixels
from sealift.model.signature import TensorSpec

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
FULL: dict[Interpolation, int] = {"bilinear": 2, "bicubic": 8, "lanczos": 14}
"""The largest difference of a pixel that is decoded in full: rounding, and overshoot that is cut once a pass."""


def scene(width: int, height: int) -> Image.Image:
    """Photo-like: smooth colours with fine noise."""
    values = np.random.default_rng(5).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noise = np.random.default_rng(6).normal(0, 6, large.shape)
    return Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8))


def encoded(photo: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, kind, **{"quality": 90, **options})
    return buffer.getvalue()


def declared(decode: Literal["fast", "exact"] = "fast", **options: Any) -> ImageInput:
    return ImageInput(
        **{"size": (224, 224), "resize": 256, "interpolation": "bicubic", **options}, decode=decode
    )


def both(data: bytes, **options: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    fast, exact = (photo_pixels(data, declared(way, **options)) for way in ("fast", "exact"))
    assert fast.shape == exact.shape
    return fast.astype(np.int64), exact.astype(np.int64)


SCENE = scene(450, 450)
SMALL = encoded(scene(300, 225))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 256), (257, 640), (120, 90)], ids=str)
def test_decoded_in_full_it_is_pillows_but_for_rounding(
    interpolation: Interpolation, size: tuple[int, int]
) -> None:
    fast, exact = both(encoded(scene(*size)), interpolation=interpolation)
    assert np.abs(fast - exact).max() <= FULL[interpolation]
    assert np.abs(fast - exact).mean() <= 0.35


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1100, 1030), (2401, 1803), (4096, 2050), (4200, 4100)], ids=str)
def test_a_smaller_transform_shows_the_same_part_of_the_photo(size: tuple[int, int]) -> None:
    """A shift of half a pixel would show up on this slope as a difference of the mean."""
    slope = np.add.outer(np.linspace(0, 120, size[1]), np.linspace(0, 120, size[0]))
    photo = Image.fromarray(np.stack([slope, slope, slope], axis=-1).astype(np.uint8))
    fast, exact = both(encoded(photo, quality=98))
    assert np.abs(fast - exact).max() <= 3
    assert abs((fast - exact).mean()) < 0.3


@pytest.mark.parametrize(
    ("shorter", "factor"), [(375, 1), (1023, 1), (1024, 2), (2047, 2), (2048, 4), (4096, 8), (6000, 8)]
)
def test_at_least_two_decoded_pixels_remain_for_one(
    shorter: int, factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def note(_data: bytes, _size: tuple[int, int], _colours: str, chosen: int) -> None:
        taken.append(chosen)

    monkeypatch.setattr(jpeg, "_decoded", note)
    buffer = io.BytesIO()
    Image.new("RGB", (shorter + 8, shorter)).save(buffer, "JPEG")
    photo_pixels(buffer.getvalue(), declared())
    assert taken == [factor]


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("size", [(300, 225), (1300, 1101)], ids=str)
def test_a_turned_photo_is_set_upright_as_pillow_does(orientation: int, size: tuple[int, int]) -> None:
    """Off the middle on purpose: a rounded corner that lands on the other side would show."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    fast, exact = both(encoded(scene(*size), exif=exif), size=(101, 224), resize=225)
    assert np.abs(fast - exact).mean() < 2


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("channels", ["RGB", "GRAY", "BGR"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_every_kind_of_jpeg_and_channels(mode: str, channels: str, options: dict[str, Any]) -> None:
    fast, exact = both(encoded(scene(300, 225).convert(mode), **options), channels=channels)
    assert np.abs(fast - exact).max() <= FULL["bicubic"]


def test_straight_to_size_without_a_crop() -> None:
    fast, exact = both(SMALL, resize=None, size=(100, 150))
    assert np.abs(fast - exact).max() <= FULL["bicubic"]
    same, there = both(SMALL, resize=None, size=(225, 300))
    np.testing.assert_array_equal(same, there)


def test_four_colours_and_nearest_neighbours_take_the_reference_way() -> None:
    cmyk = encoded(scene(300, 225).convert("CMYK"))
    np.testing.assert_array_equal(*both(cmyk))
    np.testing.assert_array_equal(*both(SMALL, interpolation="nearest"))


def test_other_formats_are_pillows_to_the_bit() -> None:
    np.testing.assert_array_equal(*both(encoded(scene(300, 225), "PNG")))
    np.testing.assert_array_equal(*both(encoded(scene(300, 225), "WEBP", lossless=True)))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "MPO"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    more = [Image.new("RGB", (300, 225), colour) for colour in ("black", "white")]
    data = encoded(scene(300, 225), kind, save_all=True, append_images=more)
    for found in both(data):
        assert 20 < found.mean() < 235


def test_where_the_resizer_has_no_wheel_pillow_resizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "_vector_resizer", lambda: None)
    for data in (SMALL, encoded(scene(1300, 1101)), encoded(scene(300, 225).convert("L"))):
        fast, exact = both(data)
        assert np.abs(fast - exact).mean() < 2
    fast, exact = both(SMALL)
    assert np.abs(fast - exact).max() <= 1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_without_the_resizers_package_the_same_photo_is_seen(
    interpolation: Interpolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on ARM, where cykooz.resizer has no wheel: within what `resample` promises."""
    pixels = np.asarray(scene(500, 375))
    window = resample.window_of((500, 375), declared(interpolation=interpolation))
    with_it = resample.resample(pixels, window, interpolation).astype(np.int16)
    resample._vector_resizer.cache_clear()
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    try:
        assert resample._vector_resizer() is None
        without = resample.resample(pixels, window, interpolation).astype(np.int16)
    finally:
        resample._vector_resizer.cache_clear()
    assert with_it.shape == without.shape == (224, 224, 3)
    assert np.abs(with_it - without).max() <= 2


def test_a_damaged_photo_gets_pillows_own_words() -> None:
    cut = SMALL[: len(SMALL) // 2]
    messages = []
    for way in ("fast", "exact"):
        with pytest.raises(InvalidInput, match="damaged or cut short") as caught:
            photo_pixels(cut, declared(way))
        messages.append((caught.value.message, caught.value.code))
    assert messages[0] == messages[1]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_flipped_bytes_are_told_as_the_reference_tells_them(data: st.DataObject) -> None:
    photo = bytearray(SMALL)
    places = st.one_of(st.integers(0, 700), st.integers(0, len(photo) - 1))
    for position in data.draw(st.lists(places, min_size=1, max_size=4)):
        photo[position] ^= data.draw(st.integers(1, 255))
    found = []
    for way in ("fast", "exact"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found.append(photo_pixels(bytes(photo), declared(way), max_pixels=200_000).shape)
            except RequestError as error:
                found.append((error.message, error.code, error.status))
    assert found[0] == found[1]


def test_the_size_is_refused_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "_decoded", None)
    with pytest.raises(TooLarge, match="image: 300 x 225 pixels, the limit is 67,499"):
        photo_pixels(SMALL, declared(), max_pixels=67_499)


def test_threads_share_a_preparation() -> None:
    preparation = ImagePreparation(
        declared(mean=(127.0,), std=(128.0,)), TensorSpec(name="x", datatype="FP32", shape=("n", 3, 224, 224))
    )
    photos = [encoded(scene(300 + 7 * n, 260)) for n in range(6)]
    alone = [preparation(photo).inputs["x"] for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        for turn, found in enumerate(pool.map(preparation, photos * 6)):
            np.testing.assert_array_equal(found.inputs["x"], alone[turn % 6])


DIGEST = """
import hashlib, sys
from pathlib import Path
from sealift.model.declaration import ImageInput
from sealift.model.image import photo_pixels
for name in sys.argv[1:]:
    pixels = photo_pixels(Path(name).read_bytes(), ImageInput(size=(224, 224), resize=256, interpolation="bicubic"))
    print(hashlib.sha256(pixels.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_processor(tmp_path: Path) -> None:
    """Golden inputs are recorded on one machine and checked on another: same bytes with any vector unit.

    libjpeg-turbo reads JSIMD_FORCENONE and JSIMD_FORCESSE2; `test_the_resizer...` has the other half.
    """
    names = []
    for number, data in enumerate(
        (SMALL, encoded(scene(1300, 1101)), encoded(scene(1300, 1101), subsampling=0))
    ):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(data)
        names.append(str(path))
    found = set()
    for unit in ("", "JSIMD_FORCENONE", "JSIMD_FORCESSE2"):
        environment = {**os.environ, **({unit: "1"} if unit else {})}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST, *names],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["bilinear", "bicubic", "lanczos"]),
    st.tuples(st.integers(1, 48), st.integers(1, 48)),
    st.tuples(st.floats(0.3, 9), st.floats(0.3, 9)),
    st.tuples(st.sampled_from([0, 0.25, 0.5, 1, 3.3]), st.sampled_from([0, 0.25, 0.5, 1, 3.3])),
    st.booleans(),
)
def test_any_window_is_resampled_as_pillow_does(
    interpolation: Interpolation,
    size: tuple[int, int],
    reductions: tuple[float, float],
    corner: tuple[float, float],
    is_grey: bool,
) -> None:
    """Any part of any photo to any size, small ones on purpose: windows that end where the photo ends."""
    spans = [side * reduction for side, reduction in zip(size, reductions, strict=True)]
    width, height = (math.ceil(start + span) for start, span in zip(corner, spans, strict=True))
    pixels = np.ascontiguousarray(np.asarray(SCENE.convert("L" if is_grey else "RGB"))[:height, :width])
    window = resample.Window((corner[0], corner[1], corner[0] + spans[0], corner[1] + spans[1]), size)
    found = resample.resample(pixels, window, interpolation).astype(np.int64)
    photo = Image.fromarray(pixels)
    wanted = photo.resize(size, resample.RESAMPLING[interpolation], box=window.box)
    assert np.abs(found - np.asarray(wanted, np.int64)).max() <= FULL[interpolation]


@pytest.mark.parametrize(
    ("pixels", "box", "size"),
    [
        ((9, 17), (8.25, 4.25, 9.25, 5.25), (2, 2)),
        ((3, 17), (8.31111111111111, 1.125, 9.066666666666666, 2.25), (2, 3)),
        ((9, 17), (8.25, 0.0, 9.25, 9.0), (2, 4)),
        ((9, 9), (0.0, 0.0, 9.0, 9.0), (9, 8)),
    ],
    ids=["both axes", "found by chance", "one axis", "one axis unchanged"],
)
def test_what_does_not_shrink_is_left_to_pillow(
    pixels: tuple[int, int], box: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    """The vector resizer reads where no photo is when it enlarges: the first three end the process there."""
    scene_part = np.ascontiguousarray(np.asarray(SCENE)[: pixels[0], : pixels[1]])
    found = resample.resample(scene_part, resample.Window(box, size), "bicubic")
    wanted = Image.fromarray(scene_part).resize(size, Image.Resampling.BICUBIC, box=box)
    np.testing.assert_array_equal(found, np.asarray(wanted))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_the_resizer_gives_the_same_bytes_with_any_vector_unit(interpolation: str) -> None:
    resizer = pytest.importorskip("cykooz_resizer", reason="cykooz.resizer has no wheel for this processor")
    pixels = np.asarray(scene(500, 375))
    window = resample.window_of((500, 375), declared())
    own = resample._own_resizer(resizer)
    usual = own.cpu_extensions
    found = set()
    try:
        for unit in (resizer.CpuExtensions.none, resizer.CpuExtensions.sse4_1, usual):
            own.cpu_extensions = unit
            found.add(resample.resample(pixels, window, interpolation).tobytes())
    finally:
        own.cpu_extensions = usual
    assert len(found) == 1


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_photo_in_json_is_decoded_in_one_pass() -> None:
    assert photo_in_json(body({"image": base64.b64encode(SMALL).decode()})) == SMALL


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"{",
        body({}),
        body([]),
        body({"image": ""}),
        body({"image": 5}),
        body({"image": "?"}),
        body({"image": "QUJD", "top": 3}),
        body([{"image": "QUJD"}]),
        body({"image": "data:image/jpeg;base64,QUJD"}),
        body({"image": "QU JD\n"}),
        b'{"image": "\xff"}',
        b'{"image":' * 5000,
    ],
    ids=lambda value: repr(value[:24]),
)
def test_any_other_body_takes_the_general_way(other: bytes) -> None:
    assert photo_in_json(other) is None


@given(
    st.one_of(
        st.binary(max_size=40).map(base64.b64encode), st.text("QUJD+/-_= \n", max_size=12).map(str.encode)
    )
)
def test_what_one_pass_decodes_is_what_the_general_way_decodes(text: bytes) -> None:
    whole = body({"image": text.decode()})
    found = photo_in_json(whole)
    if found is not None:
        assert found == photo_bytes(json.loads(whole))
