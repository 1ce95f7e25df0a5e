"""A signature -> inputs that the model is likely to run on; the same for the same seed, everywhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.model.arrays import Arrays
from sealift.model.datatypes import NUMPY_OF
from sealift.model.signature import Axis, Signature, TensorSpec

_SIZES: Final = (1, 8, 2, 16, 32)
_IMAGE_SIZES: Final = (64, 224, 256)
_CHANNELS: Final = frozenset({1, 3, 4})
_WORDS: Final = ("a", "b", "yes", "no", "red", "one two")
_BATCH_NAMES: Final = re.compile(r"^(n|b|bs|rows?|batch([ _-]?size)?|batch.*)$", re.IGNORECASE)


def example_inputs(
    signature: Signature,
    *,
    seed: int,
    rows: int = 1,
    size: int = 1,
    image_size: int = 64,
    rank: int = 2,
) -> Arrays:
    """Plausible values: floats N(0, 1), whole numbers 0 or 1 (0..255 in UINT8 images), booleans, short words.

    Args:
        seed: each tensor depends on it and on the tensor's name only, not on the order of the inputs.
        rows: size of the batch axis; without one, of symbolic first axes named like a batch or unnamed.
        size: size of every other symbolic axis; sums (`past + 1`) are computed.
        image_size: symbolic height and width of image-like inputs (four axes, 1, 3 or 4 channels).
        rank: number of axes where the signature leaves it open.
    Returns: every input, C-contiguous; axes of one name have one size.
    """
    sizes = _axis_sizes(signature, rows, size, image_size)
    return {
        spec.name: _values(spec, _shape(spec, sizes, (rows, size, rank)), seed) for spec in signature.inputs
    }


def example_candidates(signature: Signature, *, seed: int, rows: int = 1) -> Iterator[Arrays]:
    """Inputs to try in turn, the likeliest first, until the model runs; a dozen at most, none twice."""
    tried: set[tuple[tuple[str, tuple[int, ...]], ...]] = set()
    ranks = (2, 1, 4, 3, 0) if any(spec.shape is None for spec in signature.inputs) else (2,)
    for rank in ranks:
        for position, size in enumerate(_SIZES):
            image_size = _IMAGE_SIZES[min(position, len(_IMAGE_SIZES) - 1)]
            inputs = example_inputs(
                signature, seed=seed, rows=rows, size=size, image_size=image_size, rank=rank
            )
            shapes = tuple((name, array.shape) for name, array in inputs.items())
            if shapes not in tried:
                tried.add(shapes)
                yield inputs


def _axis_sizes(signature: Signature, rows: int, size: int, image_size: int) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for spec in signature.inputs:
        axes = spec.shape or ()
        spatial = _spatial_positions(axes)
        for position, axis in enumerate(axes):
            if isinstance(axis, int) or axis == "?" or axis in sizes:
                continue
            is_batch = axis == signature.batch_axis or (position == 0 and _BATCH_NAMES.match(axis))
            sizes[axis] = rows if is_batch else image_size if position in spatial else size
    known = dict(sizes)
    for name in sizes:
        total = _sum_of(name, known)
        sizes[name] = total if total is not None else sizes[name]
    return sizes


def _sum_of(name: str, sizes: Mapping[str, int]) -> int | None:
    """`past_length + 1` as exporters name derived axes; None: not a sum of known axes and numbers."""
    parts = [part.strip() for part in name.split("+")]
    if len(parts) < 2 or not all(part.isdecimal() or part in sizes for part in parts):
        return None
    return sum(int(part) if part.isdecimal() else sizes[part] for part in parts)


def _spatial_positions(axes: tuple[Axis, ...]) -> frozenset[int]:
    if len(axes) != 4:
        return frozenset()
    if axes[1] in _CHANNELS:
        return frozenset({2, 3})
    return frozenset({1, 2}) if axes[3] in _CHANNELS else frozenset()


def _shape(spec: TensorSpec, sizes: Mapping[str, int], open_sizes: tuple[int, int, int]) -> tuple[int, ...]:
    rows, size, rank = open_sizes
    if spec.shape is None:
        return (rows, *([size] * (rank - 1)))[:rank]
    spatial = _spatial_positions(spec.shape)
    shape = []
    for position, axis in enumerate(spec.shape):
        if isinstance(axis, int):
            shape.append(axis)
        elif axis == "?":
            shape.append(rows if position == 0 else 64 if position in spatial else size)
        else:
            shape.append(sizes[axis])
    return tuple(shape)


def _values(spec: TensorSpec, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    digest = hashlib.sha256(f"{seed}:{spec.name}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    dtype = NUMPY_OF[spec.datatype]
    if dtype.kind == "f":
        return np.asarray(generator.standard_normal(shape)).astype(dtype)
    if dtype.kind == "O":
        words = np.empty(shape, dtype=np.object_)
        picks = np.asarray(generator.integers(0, len(_WORDS), size=shape))
        for position, pick in enumerate(picks.flat):
            words.flat[position] = _WORDS[pick]
        return words
    top = 256 if spec.datatype == "UINT8" and len(shape) >= 3 else 2
    return np.asarray(generator.integers(0, top, size=shape)).astype(dtype)
