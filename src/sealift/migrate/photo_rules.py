"""What calls and operators do to a photo or a row of fields: Pillow, numpy, torch and torchvision.

Sources: Pillow's `Image.resize` (bicubic where nothing is said), torchvision's `transforms` (bilinear), and
docs/reference/project-file.md for what a declaration can say. None: the photo is no longer understood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal

from sealift.migrate.symbols import Arguments, Chain, Fields, Photo, has_float, numbers_of, spread

_INTERPOLATIONS: Final = {
    "nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic", "lanczos": "lanczos", "antialias": "lanczos",
    "0": "nearest", "1": "lanczos", "2": "bilinear", "3": "bicubic",
}  # fmt: skip
_AS_IT_IS: Final = frozenset(
    ("contiguous", "copy", "numpy", "cpu", "cuda", "detach", "clone", "load", "requires_grad_")
)


def method(photo: Photo, name: str, arguments: Arguments) -> Photo | None:
    """`photo.NAME(...)`."""
    if name in _AS_IT_IS:
        return photo
    rule = _METHODS.get(name)
    return rule(photo, arguments) if rule else None


def indexed(photo: Photo, key: object) -> Photo | None:
    """`photo[KEY]`: `None` as the first index adds the batch, `::-1` on the last axis turns the channels."""
    keys = key if isinstance(key, tuple) else (key,)
    turned = slice(None, None, -1)
    added = sum(each is None for each in keys)
    if (
        added
        and all(each is None for each in keys[:added])
        and all(each in (Ellipsis, slice(None)) for each in keys[added:])
    ):
        once = _batched(photo)
        return once if added == 1 or once is None else _batched(once) if added == 2 else None
    if photo.axes == "HWC" and keys in ((slice(None), slice(None), turned), (Ellipsis, turned)):
        return _swapped(photo)
    return None


def arithmetic(
    value: Photo | Fields, operator: str, other: object, *, is_reversed: bool = False
) -> Photo | Fields | None:
    """`value OPERATOR other`, or the other way round. An array only, and constants that fit the channels."""
    numbers = numbers_of(other)
    count = len(value.names) if isinstance(value, Fields) else 3
    if numbers is None or len(numbers) not in (1, count) or (isinstance(value, Photo) and not value.axes):
        return None
    if isinstance(value, Photo) and not value.is_float and operator != "/" and not has_float(other):
        return None  # 8-bit integers wrap around
    if is_reversed and operator in "-/":
        return _affine(value, (-1.0,), numbers) if operator == "-" else None
    if operator in "+-":
        return _affine(value, (1.0,), tuple(-each if operator == "-" else each for each in numbers))
    if operator == "/" and all(numbers):
        return _affine(value, tuple(1 / each for each in numbers), (0.0,))
    return _affine(value, numbers, (0.0,)) if operator == "*" else None


def transformed(photo: Photo, chain: Chain) -> Photo | tuple[str, int]:
    """Through torchvision's transforms; (name, line) of the first that is not understood."""
    for name, arguments, line in chain.steps:
        rule = _TRANSFORMS.get(name)
        after = rule(photo, arguments) if rule else None
        if after is None:
            return name, line
        photo = after
    return photo


def as_array(photo: Photo, datatype: str = "") -> Photo | None:
    """`np.asarray(photo, datatype)`, and what it is already."""
    array = photo if photo.axes else replace(photo, axes="HWC" if photo.channels != "GRAY" else "HW")
    return _typed(array, datatype) if datatype else array


def _typed(photo: Photo, datatype: str) -> Photo | None:
    """Floats stay what they are; what was computed as floats would lose by any other type."""
    if "float" in datatype or "double" in datatype or "half" in datatype:
        return replace(photo, is_float=True)
    return None if photo.is_float or "uint8" not in datatype else photo


def _affine(value: Photo | Fields, scale: tuple[float, ...], shift: tuple[float, ...]) -> Photo | Fields:
    if isinstance(value, Photo):
        return value.affine(scale, shift)
    count = len(value.names)
    by, more = spread(scale, count), spread(shift, count)
    return replace(
        value,
        scale=tuple(a * b for a, b in zip(value.scale, by, strict=True)),
        shift=tuple(a * b + c for a, b, c in zip(value.shift, by, more, strict=True)),
    )


def _convert(photo: Photo, arguments: Arguments) -> Photo | None:
    channels: dict[object, Literal["RGB", "GRAY"]] = {"RGB": "RGB", "L": "GRAY"}
    wanted = channels.get(arguments.constant(0, "mode"))
    return replace(photo, channels=wanted) if wanted and not photo.axes else None


def _resize(photo: Photo, arguments: Arguments) -> Photo | None:
    size = numbers_of(arguments.constant(0, "size"))
    how = _interpolation(arguments, 1, "resample", "bicubic")
    odd = len(arguments.given) > 2 or set(arguments.named or {}) - {"size", "resample"}
    if size is None or len(size) != 2 or how is None or odd or photo.axes or _is_scaled(photo):
        return None
    return replace(photo, size=(int(size[1]), int(size[0])), interpolation=how)


def _is_scaled(photo: Photo) -> bool:
    return photo.size is not None or photo.shorter is not None


def _interpolation(arguments: Arguments, number: int, name: str, default: str) -> str | None:
    if arguments.get(number, name) is None:
        return default
    return _INTERPOLATIONS.get(str(arguments.constant(number, name)).rpartition(".")[2].lower())


def _transpose(photo: Photo, arguments: Arguments) -> Photo | None:
    order = numbers_of([arguments.constant(number) for number in range(len(arguments.given))])
    if order is None or len(order) != len(photo.axes) or sorted(order) != list(range(len(order))):
        return None
    return replace(photo, axes="".join(photo.axes[int(each)] for each in order))


def _unsqueeze(photo: Photo, arguments: Arguments) -> Photo | None:
    axis = arguments.constant(0, "dim")
    if axis == 0 and photo.axes == "HW":  # one channel: the next one is the batch
        return replace(photo, axes="CHW")
    return _batched(photo) if axis == 0 else None


def _reshape(photo: Photo, arguments: Arguments) -> Photo | None:
    shape = numbers_of([arguments.constant(number) for number in range(len(arguments.given))])
    return _batched(photo) if shape and len(shape) == 4 and shape[0] == 1 and photo.axes == "CHW" else None


def _batched(photo: Photo) -> Photo | None:
    if photo.axes == "HW":
        return replace(photo, axes="CHW")
    return replace(photo, axes=f"N{photo.axes}") if len(photo.axes) == 3 else None


def _swapped(photo: Photo) -> Photo | None:
    other: dict[str, Literal["RGB", "BGR"]] = {"RGB": "BGR", "BGR": "RGB"}
    wanted = other.get(photo.channels)
    return (
        replace(photo, channels=wanted, scale=photo.scale[::-1], shift=photo.shift[::-1]) if wanted else None
    )


def _scaled_by_side(photo: Photo, arguments: Arguments) -> Photo | None:
    size = arguments.constant(0, "size")
    how = _interpolation(arguments, 1, "interpolation", "bilinear")
    if how is None or photo.axes or _is_scaled(photo):
        return None
    sides = numbers_of(size)
    odd = len(arguments.given) > 2 or set(arguments.named or {}) - {"size", "interpolation", "antialias"}
    if sides is None or len(sides) > 2 or odd:
        return None
    if len(sides) == 1:
        return replace(photo, shorter=int(sides[0]), interpolation=how)
    return replace(photo, size=(int(sides[0]), int(sides[1])), interpolation=how)


def _center_crop(photo: Photo, arguments: Arguments) -> Photo | None:
    sides = numbers_of(arguments.constant(0, "size"))
    if sides is None or len(sides) > 2 or photo.axes or photo.shorter is None:
        return None
    return replace(photo, crop=(int(sides[0]), int(sides[-1])))


def _to_tensor(photo: Photo, _: Arguments) -> Photo | None:
    return None if photo.axes else replace(photo, axes="CHW").affine((1 / 255,), (0.0,))


def _normalize(photo: Photo, arguments: Arguments) -> Photo | None:
    mean, std = numbers_of(arguments.constant(0, "mean")), numbers_of(arguments.constant(1, "std"))
    if not mean or not std or not all(std) or not photo.axes or len(mean) != len(std):
        return None
    return photo.affine(
        tuple(1 / each for each in std), tuple(-each / by for each, by in zip(mean, std, strict=True))
    )


def _grayscale(photo: Photo, arguments: Arguments) -> Photo | None:
    one = arguments.constant(0, "num_output_channels") in (None, 1)
    return replace(photo, channels="GRAY") if one and not photo.axes else None


def _astype(photo: Photo, arguments: Arguments) -> Photo | None:
    return _typed(photo, str(arguments.constant(0, "dtype"))) if photo.axes else None


def _to(photo: Photo, arguments: Arguments) -> Photo | None:
    """`tensor.to(...)`: a device, or a datatype."""
    wanted = str(arguments.constant(0, "dtype"))
    is_datatype = any(word in wanted for word in ("float", "double", "half", "int"))
    return _typed(photo, wanted) if is_datatype else photo


def _to_float(photo: Photo, _: Arguments) -> Photo | None:
    return replace(photo, is_float=True) if photo.axes else None


Rule = Callable[[Photo, Arguments], Photo | None]
_METHODS: Final[dict[str, Rule]] = {
    "convert": _convert,
    "resize": _resize,
    "transpose": _transpose,
    "permute": _transpose,
    "unsqueeze": _unsqueeze,
    "reshape": _reshape,
    "view": _reshape,
    "astype": _astype,
    "to": _to,
    "float": _to_float,
    "half": _to_float,
}
_TRANSFORMS: Final[dict[str, Rule]] = {
    "Resize": _scaled_by_side,
    "CenterCrop": _center_crop,
    "ToTensor": _to_tensor,
    "Normalize": _normalize,
    "Grayscale": _grayscale,
}
