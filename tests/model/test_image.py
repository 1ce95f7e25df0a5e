"""Photos of every kind, and what is no photo."""

from __future__ import annotations

import base64
import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sealift.errors import InvalidInput, RequestError, TooLarge
from sealift.model.declaration import ImageInput
from sealift.model.image import ImagePreparation, photo_bytes
from sealift.model.photo import decode_photo
from sealift.model.signature import Axis, TensorSpec

SCENE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def encoded(photo: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, kind, **options)
    return buffer.getvalue()


PNG = encoded(Image.fromarray(SCENE))


def spec(shape: tuple[Axis, ...], datatype: str = "FP32") -> TensorSpec:
    return TensorSpec(name="image", datatype=datatype, shape=shape)


def tensor(declared: ImageInput, target: TensorSpec, payload: Any = PNG) -> np.ndarray[Any, Any]:
    return ImagePreparation(declared, target)(payload).inputs["image"]


def test_the_tensor_is_what_the_training_code_would_make() -> None:
    """Resize of the shorter side, centre crop, (x - mean) / std, as torchvision and a few lines of numpy do."""
    declared = ImageInput(
        size=(20, 24), resize=28, interpolation="bicubic", mean=(127.0,) * 3, std=(128.0, 64.0, 32.0)
    )
    resized = Image.fromarray(SCENE).resize((42, 28), Image.Resampling.BICUBIC).crop((9, 4, 33, 24))
    wanted = (np.asarray(resized, np.float32) - 127.0) / np.array([128.0, 64.0, 32.0], np.float32)
    found = tensor(declared, spec(("n", 3, 20, 24)))
    assert (found.shape, found.dtype, found.flags.c_contiguous) == ((1, 3, 20, 24), np.float32, True)
    np.testing.assert_array_equal(found[0], wanted.transpose(2, 0, 1))


def test_a_portrait_is_scaled_by_its_width() -> None:
    tall = Image.fromarray(SCENE.transpose(1, 0, 2))
    wanted = np.asarray(tall.resize((20, 30), Image.Resampling.BILINEAR).crop((0, 5, 20, 25)))
    found = tensor(ImageInput(size=(20, 20), resize=20), spec(("n", 3, 20, 20)), encoded(tall))
    np.testing.assert_array_equal(found[0].transpose(1, 2, 0), wanted)


def test_layout_channels_and_datatype_follow_the_declaration() -> None:
    plain = tensor(ImageInput(size=(40, 60), layout="NHWC"), spec(("n", 40, 60, 3), "UINT8"))
    assert plain.dtype == np.uint8
    np.testing.assert_array_equal(plain[0], SCENE)
    swapped = tensor(ImageInput(size=(40, 60), layout="NHWC", channels="BGR"), spec((1, 40, 60, 3)))
    np.testing.assert_array_equal(swapped[0], SCENE[:, :, ::-1])
    half = tensor(ImageInput(size=(40, 60), std=(255.0,)), spec((1, 3, 40, 60), "FP16"))
    assert half.dtype == np.float16


@pytest.mark.parametrize(
    ("shape", "found", "added"),
    [
        (("n", 1, 40, 60), (1, 1, 40, 60), {"n"}),
        ((1, 1, 40, 60), (1, 1, 40, 60), {1}),
        ((1, 40, 60), (1, 40, 60), set()),
        (("n", 40, 60), (1, 40, 60), {"n"}),
        ((40, 60), (40, 60), set()),
    ],
)
def test_greyscale_fits_every_rank(shape: tuple[Axis, ...], found: tuple[int, ...], added: set[Axis]) -> None:
    prepared = ImagePreparation(ImageInput(size=(40, 60), channels="GRAY"), spec(shape))(PNG)
    assert prepared.inputs["image"].shape == found
    assert prepared.added_axes == added


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", ["RGB", "GRAY"])
def test_every_mode_becomes_eight_bits(mode: str, channels: str) -> None:
    if mode == "I;16":
        photo = Image.fromarray(SCENE[:, :, 0].astype(np.uint16) * 257)
    else:
        photo = Image.fromarray(SCENE).convert(mode)
    found = decode_photo(encoded(photo), channels)
    assert found.mode == ("L" if channels == "GRAY" else "RGB")
    if mode in ("L", "I;16"):
        grey = SCENE[:, :, 0] if mode == "I;16" else np.asarray(photo)
        np.testing.assert_array_equal(np.asarray(found.convert("L")), grey)


def test_print_colours_and_transparent_palettes_are_converted() -> None:
    cyan = encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=100)
    assert decode_photo(cyan).getpixel((4, 4)) == (0, 255, 255)
    assert decode_photo(cyan, "GRAY").mode == "L"
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert decode_photo(encoded(palette, transparency=b"\x00\x80")).getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_set_upright(orientation: int) -> None:
    """The EXIF orientation says how the camera was held; the tensor shows what the person saw."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    upright = Image.fromarray(SCENE)
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(np.asarray(decode_photo(encoded(stored, exif=exif))), SCENE)


def test_damaged_exif_does_not_lose_the_photo() -> None:
    data = encoded(Image.fromarray(SCENE), "JPEG", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\0\xff\x01\x12")
    with pytest.warns(UserWarning, match="Corrupt EXIF"):  # Pillow's own
        assert decode_photo(data).size == (60, 40)


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(PNG).decode(),
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        base64.encodebytes(PNG).decode(),
        base64.urlsafe_b64encode(PNG).decode().rstrip("="),
    ],
    ids=["plain", "data-url", "line-breaks", "url-safe-unpadded"],
)
def test_base64_comes_in_several_dresses(text: str) -> None:
    assert photo_bytes({"image": text}) == PNG


@pytest.mark.parametrize(
    ("payload", "message", "code"),
    [
        (b"", "the body is empty; expected a photo", "invalid_image"),
        ({"image": "???"}, "image: not base64", "invalid_image"),
        ({"image": ""}, "image: empty; expected base64 of a photo", "invalid_image"),
        ({"image": 5}, "image: expected base64 text, got 5", "invalid_image"),
        ({"image": "ä"}, "image: not base64", "invalid_image"),
        (
            {"img": "x"},
            'expected a photo as the raw body, or {"image": "<base64>"}, got "img"',
            "invalid_body",
        ),
        ([1], 'expected a photo as the raw body, or {"image": "<base64>"}, got [1]', "invalid_body"),
        (b"not a photo", "image: not a photo in a known format", "invalid_image"),
        (PNG[:400], "image: damaged or cut short", "invalid_image"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "image: not a photo in a known format",
            "invalid_image",
        ),
    ],
)
def test_what_is_no_photo_is_refused(payload: Any, message: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        tensor(ImageInput(size=(8, 8)), spec((1, 3, 8, 8)), payload)
    assert caught.value.message.startswith(message)
    assert caught.value.code == code


def test_floating_point_images_are_refused() -> None:
    data = encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(InvalidInput, match="no agreed range"):
        decode_photo(data)


def test_too_many_pixels_are_refused_on_the_header() -> None:
    """The header alone says 30000 x 30000: nothing is decoded, nothing of that size allocated."""
    header = struct.pack(">II5B", 30000, 30000, 8, 2, 0, 0, 0)
    position = PNG.index(b"IHDR") + 4
    checksum = struct.pack(">I", __import__("zlib").crc32(b"IHDR" + header))
    bomb = PNG[:position] + header + checksum + PNG[position + 17 :]
    with pytest.raises(TooLarge, match="the limit is 50,000,000") as caught:
        decode_photo(bomb)
    assert (caught.value.status, caught.value.code) == (413, "too_many_pixels")


def test_the_pixel_cap_is_exact() -> None:
    assert decode_photo(PNG, max_pixels=2400).size == (60, 40)
    with pytest.raises(TooLarge, match="image: 60 x 40 pixels, the limit is 2,399"):
        decode_photo(PNG, max_pixels=2399)


def test_a_sliver_does_not_blow_up_when_scaled() -> None:
    sliver = encoded(Image.new("RGB", (1, 60000)))
    with pytest.raises(InvalidInput, match="too narrow"):
        tensor(ImageInput(size=(224, 224), resize=256), spec((1, 3, 224, 224)), sliver)


JPEG = encoded(Image.fromarray(SCENE), "JPEG")


@settings(max_examples=150)
@given(st.sampled_from([PNG, JPEG]), st.data())
def test_a_damaged_photo_is_a_photo_or_a_refusal(original: bytes, data: st.DataObject) -> None:
    """Any bytes flipped anywhere: never another exception than what the client may see."""
    photo = bytearray(original)
    for position in data.draw(st.lists(st.integers(0, len(photo) - 1), min_size=1, max_size=6)):
        photo[position] ^= data.draw(st.integers(1, 255))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decode_photo(bytes(photo), max_pixels=10_000)
    except RequestError as error:
        assert error.status in (400, 413)  # noqa: PT017  both answers are right, any other exception is not
