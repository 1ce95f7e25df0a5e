"""What a model is given, as followed through a script -> `[model.input]`, where one says the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sealift.migrate.script_methods import fields_of
from sealift.migrate.symbols import Fields, Photo, Symbol
from sealift.model.declaration import ImageInput, Input, NumericColumn, TabularInput

PILLOWS: Final = "exact"
"""The decoding that gives the pixels of the old services, which all use Pillow."""
ORIENTATION: Final = "photos with an EXIF orientation are turned upright here, and were not before"
_AXES: Final = {"NCHW": "NCHW", "CHW": "NCHW", "NHWC": "NHWC", "HWC": "NHWC"}


@dataclass(frozen=True, slots=True)
class Declared:
    """`input`: None where no declaration says the same as the script."""

    input: Input | None
    understood: tuple[str, ...] = ()
    check: tuple[str, ...] = ()


def declared_input(given: Symbol) -> Declared:
    """A photo whose way is fully known, or a row of named numbers."""
    if isinstance(given, Photo):
        return photo_declaration(given)
    fields = given if isinstance(given, Fields) else fields_of(given)
    return _table(fields) if fields is not None else Declared(None)


def photo_declaration(photo: Photo) -> Declared:
    """The photo's way as `kind = "image"`; `decode = "exact"`, because the old service's pixels are Pillow's."""
    size = photo.crop if photo.shorter is not None else photo.size
    layout = _AXES.get(photo.axes)
    if size is None or layout is None or not all(photo.scale):
        return Declared(None, check=("the photo's size or layout does not show in the script",))
    if photo.shorter is not None and photo.shorter < max(size):
        return Declared(None, check=(f"Resize({photo.shorter}) is smaller than the crop {list(size)}",))
    declared = ImageInput(
        size=size,
        resize=photo.shorter,
        interpolation=photo.interpolation,  # type: ignore[arg-type]  # one of _INTERPOLATIONS
        mean=tuple(_plain(-shift / scale) for scale, shift in zip(photo.scale, photo.shift, strict=True)),
        std=tuple(_plain(1 / scale) for scale in photo.scale),
        layout="NCHW" if layout == "NCHW" else "NHWC",
        channels=photo.channels or "RGB",
        decode=PILLOWS,
    )
    way = f"shorter side {photo.shorter}, crop {list(size)}" if photo.shorter else f"resize to {list(size)}"
    understood = (
        f"preparation: photo, {way}, {declared.interpolation}, mean {list(declared.mean)} and std {list(declared.std)} "
        f"on pixels from 0 to 255, {declared.layout}",
    )
    check = [] if photo.is_upright else [ORIENTATION]
    if not photo.channels:
        check.append('it never said convert("RGB"): photos that are grey or have an alpha channel failed')
    return Declared(declared, understood, tuple(check))


def _plain(value: float) -> float:
    """`123.675` rather than `123.67499999999998`; a float32 does not tell them apart."""
    return float(f"{value:.9g}")


def _table(fields: Fields) -> Declared:
    columns = tuple(
        NumericColumn(name=name, mean=_plain(-shift / scale) + 0.0, std=_plain(1 / scale), missing=missing)
        for name, missing, scale, shift in zip(
            fields.names, fields.missing, fields.scale, fields.shift, strict=True
        )
        if scale > 0
    )
    if len(columns) != len(fields.names):
        return Declared(None, check=("a column is scaled by zero or a negative number",))
    return Declared(
        TabularInput(columns=columns),
        (f"preparation: {len(columns)} named fields: {', '.join(fields.names)}",),
        ('columns are taken as numbers; words need kind = "categorical" with their vocabulary',),
    )
