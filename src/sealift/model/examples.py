"""A signature -> inputs that the model is likely to run on; the same for the same seed, everywhere."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.model.arrays import Arrays
from sealift.model.datatypes import NUMPY_OF
from sealift.model.signature import Axis, Signature, TensorSpec

_SIZES: Final = ((1, 64), (8, 224), (2, 32), (16, 256), (32, 128))
"""(size, image_size) in the order of trying."""

_RANKS: Final = (2, 1, 4, 3, 0)
_CHANNELS: Final = frozenset({1, 3, 4})
_WORDS: Final = ("a", "b", "yes", "no", "red", "one two")
_BATCH_NAMES: Final = re.compile(r"^(n|b|bs|rows?|batch([ _-]?size)?|batch.*)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ExampleSizes:
    """What fills the axes that a signature leaves open.

    `rows` is the batch axis, or without one every symbolic first axis that is unnamed or named like a
    batch. `size` is every other symbolic axis; sums (`past + 1`) are computed. `image_size` is height and
    width of image-like inputs (four axes, 1, 3 or 4 channels). `rank`: axes where even that is open.
    """

    rows: int = 1
    size: int = 1
    image_size: int = 64
    rank: int = 2


def example_inputs(
    signature: Signature,
    *,
    seed: int,
    rows: int = 1,
    sizes: ExampleSizes | None = None,
) -> Arrays:
    """Plausible values: floats N(0, 1), whole numbers 0 or 1 (0..255 in UINT8 images), booleans, words.

    Args:
        seed: each tensor depends on it and on the tensor's name only, not on the order of the inputs.
        rows: size of the batch axis; shorthand for `sizes=ExampleSizes(rows=...)`.
    Returns: every input, C-contiguous; axes of one name have one size.
    """
    chosen = sizes or ExampleSizes(rows=rows)
    named = _axis_sizes(signature, chosen)
    return {spec.name: _values(spec, _shape(spec, named, chosen), seed) for spec in signature.inputs}


def example_candidates(signature: Signature, *, seed: int, rows: int = 1) -> Iterator[Arrays]:
    """Inputs to try in turn, the likeliest first, until the model runs; a few, no shape twice."""
    tried: set[tuple[tuple[int, ...], ...]] = set()
    ranks = _RANKS if any(spec.shape is None for spec in signature.inputs) else _RANKS[:1]
    for rank, (size, image_size) in itertools.product(ranks, _SIZES):
        sizes = ExampleSizes(rows=rows, size=size, image_size=image_size, rank=rank)
        inputs = example_inputs(signature, seed=seed, sizes=sizes)
        shapes = tuple(array.shape for array in inputs.values())
        if shapes not in tried:
            tried.add(shapes)
            yield inputs


def _axis_sizes(signature: Signature, chosen: ExampleSizes) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for spec in signature.inputs:
        axes = spec.shape or ()
        spatial = _spatial_positions(axes)
        for position, axis in enumerate(axes):
            if isinstance(axis, int) or axis == "?" or axis in sizes:
                continue
            is_batch = axis == signature.batch_axis or (position == 0 and _BATCH_NAMES.match(axis))
            image_or_other = chosen.image_size if position in spatial else chosen.size
            sizes[axis] = chosen.rows if is_batch else image_or_other
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
    for channels, pair in ((1, (2, 3)), (3, (1, 2))):
        is_image = len(axes) == 4 and axes[channels] in _CHANNELS
        if is_image and all(isinstance(axes[position], str) for position in pair):
            return frozenset(pair)
    return frozenset()


def _shape(spec: TensorSpec, named: Mapping[str, int], chosen: ExampleSizes) -> tuple[int, ...]:
    if spec.shape is None:
        return (chosen.rows, *([chosen.size] * (chosen.rank - 1)))[: chosen.rank]
    spatial = _spatial_positions(spec.shape)
    shape = []
    for position, axis in enumerate(spec.shape):
        if axis == "?":
            image_or_other = chosen.image_size if position in spatial else chosen.size
            shape.append(chosen.rows if position == 0 else image_or_other)
        else:
            shape.append(axis if isinstance(axis, int) else named[axis])
    return tuple(shape)


def _values(spec: TensorSpec, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    digest = hashlib.sha256(f"{seed}:{spec.name}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    dtype = NUMPY_OF[spec.datatype]
    if dtype.kind == "f":
        return np.asarray(generator.standard_normal(shape)).astype(dtype)
    if dtype.kind == "O":
        words = spec.words or _WORDS
        texts = np.empty(shape, dtype=np.object_)
        picks = np.asarray(generator.integers(0, len(words), size=shape))
        for position, pick in enumerate(picks.ravel().tolist()):
            texts.flat[position] = words[pick]
        return texts
    top = 256 if spec.datatype == "UINT8" and len(shape) >= 3 else 2
    return np.asarray(generator.integers(0, top, size=shape)).astype(dtype)
