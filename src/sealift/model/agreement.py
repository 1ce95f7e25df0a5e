"""Do the declaration and the signature speak of the same model? Asked at pack, and again before serving."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from sealift.errors import ModelError
from sealift.model.arrays import did_you_mean
from sealift.model.datatypes import NUMPY_OF
from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    Column,
    EmbeddingOutput,
    ImageInput,
    NumericColumn,
    ScoresOutput,
    TabularInput,
    TextInput,
)
from sealift.model.handler_load import handler_functions
from sealift.model.rows import chosen_output, columns
from sealift.model.scores import score_column
from sealift.model.service import ServedModel
from sealift.model.signature import Axis, Signature, TensorSpec
from sealift.model.tabular import target_input, width
from sealift.model.tensors import describe
from sealift.model.tokens import token_problems


def check_declaration(model: ServedModel) -> tuple[str, ...]:
    """Every way in which declaration, handler and signature disagree; empty: they agree.

    The handler is read, not run: its packages need not be on this machine. What a handler replaces is not
    checked.
    """
    functions: frozenset[str] = frozenset()
    if model.handler is not None:
        try:
            functions = handler_functions(model.handler)
        except ModelError as error:
            return (error.message,)
    problems: list[str] = []
    if "preprocess" not in functions:
        problems += (f"[model.input] {problem}" for problem in _input_problems(model))
    if "postprocess" not in functions:
        problems += (f"[model.output] {problem}" for problem in _output_problems(model))
    return tuple(problems)


def _input_problems(model: ServedModel) -> Iterator[str]:
    declared = model.input
    if isinstance(declared, TabularInput):
        yield from tabular_problems(declared, model.signature)
    elif isinstance(declared, TextInput) and model.tokenizer is not None:
        yield from token_problems(declared, model.tokenizer, model.signature)
    elif isinstance(declared, ImageInput | TextInput):
        kind = "image" if isinstance(declared, ImageInput) else "text"
        if len(model.signature.inputs) != 1:
            names = ", ".join(spec.name for spec in model.signature.inputs) or "none"
            yield f'kind = "{kind}" takes a model with one input, this one has {names}; write a handler'
        elif isinstance(declared, ImageInput):
            yield from image_problems(declared, model.signature.inputs[0])
        else:
            yield from text_problems(model.signature.inputs[0])


def image_problems(declared: ImageInput, spec: TensorSpec) -> Iterator[str]:
    """Sizes, channels, normalisation and datatype of an image input."""
    channels = 1 if declared.channels == "GRAY" else 3
    plain = all(mean == 0.0 for mean in declared.mean) and all(std == 1.0 for std in declared.std)
    if not (spec.datatype.startswith("FP") or spec.datatype == "UINT8"):
        yield f"an image takes a floating-point or UINT8 input, {spec.name} is {describe(spec)}"
    elif spec.datatype == "UINT8" and not plain:
        yield f"mean and std need a floating-point input, {spec.name} is {describe(spec)}"
    for name, values in (("mean", declared.mean), ("std", declared.std)):
        if len(values) not in (1, channels):
            yield f"{name} has {len(values)} values, expected 1 or {channels} ({declared.channels})"
        if not all(map(math.isfinite, values)):
            yield f"{name} must be finite"
    if 0.0 in declared.std:
        yield "std must not be 0"
    if min(declared.size) < 1:
        yield f"size {list(declared.size)} must be positive"
    elif declared.resize is not None and declared.resize < max(declared.size):
        yield f"resize = {declared.resize} is smaller than size {list(declared.size)}: the crop would leave the photo"
    yield from _image_shape_problems(declared, spec, channels)


def _image_shape_problems(declared: ImageInput, spec: TensorSpec, channels: int) -> Iterator[str]:
    if spec.shape is None:
        return
    height, width_ = declared.size
    image = (channels, height, width_) if declared.layout == "NCHW" else (height, width_, channels)
    rank = len(spec.shape)
    if rank not in (3, 4) and not (rank == 2 and channels == 1):
        yield f"an image takes an input of 3 or 4 axes, {spec.name} is {describe(spec)}"
        return
    leading: tuple[int, ...] = (1, *image) if rank == 4 else image
    if rank == 2 or (rank == 3 and channels == 1 and not _fits(spec.shape, leading)):
        leading = (height, width_) if rank == 2 else (1, height, width_)
    if rank == 4 and isinstance(spec.shape[0], int) and spec.shape[0] != 1:
        yield (
            f"{spec.name} is {describe(spec)}: a batch of exactly {spec.shape[0]}; export it with a batch of 1 "
            "or a dynamic first axis"
        )
        leading = (spec.shape[0], *image)
    if not _fits(spec.shape, leading):
        yield (
            f"{declared.layout} with size {list(declared.size)} and {declared.channels} makes "
            f"[{', '.join(map(str, leading))}], {spec.name} is {describe(spec)}"
        )


def _fits(axes: Sequence[Axis], shape: Sequence[int]) -> bool:
    if len(axes) != len(shape):
        return False
    return all(isinstance(axis, str) or axis == size for axis, size in zip(axes, shape, strict=True))


def text_problems(spec: TensorSpec) -> Iterator[str]:
    """A text goes into one BYTES element."""
    if spec.datatype != "BYTES":
        yield f'kind = "text" takes a string input, {spec.name} is {describe(spec)}; name its tokenizer'
    elif any(isinstance(axis, int) and axis != 1 for axis in spec.shape or ()):
        yield f'kind = "text" gives one string, {spec.name} is {describe(spec)}'


def tabular_problems(declared: TabularInput, signature: Signature) -> Iterator[str]:
    """Columns against inputs: routes, widths, datatypes, vocabularies."""
    if not declared.columns:
        yield "columns is empty"
        return
    names = [column.name for column in declared.columns]
    yield from (f"column {name} is declared twice" for name in dict.fromkeys(names) if names.count(name) > 1)
    routed: dict[str, list[Column]] = {spec.name: [] for spec in signature.inputs}
    for column in declared.columns:
        yield from _column_problems(column)
        target = target_input(column, signature)
        if target is not None:
            routed[target].append(column)
            continue
        known = ", ".join(routed)
        hint = did_you_mean(column.input or column.name, routed)
        wanted = f"input {column.input!r} is not one of" if column.input else "set input to one of"
        yield f"column {column.name}: {wanted} {known}{hint}"
    for spec in signature.inputs:
        yield from _routed_problems(spec, routed[spec.name])


def _column_problems(column: Column) -> Iterator[str]:
    where = f"column {column.name}:"
    if isinstance(column, NumericColumn):
        if column.std == 0.0 or not math.isfinite(column.std) or not math.isfinite(column.mean):
            yield f"{where} mean and std must be finite and std not 0"
        if column.missing is not None and math.isinf(column.missing):
            yield f"{where} missing must be a number or nan"
        return
    words = column.vocabulary
    if not words:
        yield f"{where} vocabulary is empty"
    yield from (
        f"{where} {word!r} stands twice in vocabulary"
        for word in dict.fromkeys(words)
        if words.count(word) > 1
    )
    for key, word in (("missing", column.missing), ("unknown", column.unknown)):
        if word is not None and word not in words:
            yield f"{where} {key} = {word!r} is not in vocabulary{did_you_mean(word, words)}"


def _routed_problems(spec: TensorSpec, routed: Sequence[Column]) -> Iterator[str]:
    if not routed:
        yield f"no column goes to the input {spec.name} {describe(spec)}"
        return
    for column in routed:
        yield from _datatype_problems(column, spec)
    count = sum(map(width, routed))
    axes = spec.shape
    if axes is None:
        return
    if len(axes) > 2:
        yield f"{spec.name} is {describe(spec)}; columns fill inputs of at most 2 axes, write a handler"
    elif len(axes) == 2 and isinstance(axes[0], int) and axes[0] != 1:
        yield f"{spec.name} is {describe(spec)}: {axes[0]} rows at once; export it with a dynamic first axis"
    elif (expected := _expected_width(axes)) is not None and expected != count:
        yield f"{count} values from columns {_names(routed)} go to {spec.name}, which is {describe(spec)}"


def _expected_width(axes: Sequence[Axis]) -> int | None:
    if len(axes) == 2:
        return axes[1] if isinstance(axes[1], int) else None
    return axes[0] if axes and isinstance(axes[0], int) else 1


def _names(routed: Sequence[Column]) -> str:
    names = [column.name for column in routed]
    return ", ".join(names) if len(names) <= 6 else f"{names[0]} ... {names[-1]} ({len(names)})"


def _datatype_problems(column: Column, spec: TensorSpec) -> Iterator[str]:
    where = f"column {column.name}: "
    is_word = isinstance(column, CategoricalColumn) and column.encoding == "string"
    if is_word != (spec.datatype == "BYTES"):
        kind = 'encoding = "string"' if is_word else "a number"
        yield f"{where}{kind} does not go into {spec.name}, which is {describe(spec)}"
        return
    if not isinstance(column, NumericColumn):
        words = len(column.vocabulary)
        if column.encoding == "index" and words > _countable(spec.datatype):
            yield f"{where}{words} words do not fit {spec.name}, which is {describe(spec)}"
        return
    if spec.datatype == "BOOL":
        yield f'{where}{spec.name} is BOOL; declare it categorical with vocabulary = ["false", "true"]'
    elif NUMPY_OF[spec.datatype].kind in "iu":
        if column.mean != 0.0 or column.std != 1.0:
            yield f"{where}mean and std need a floating-point input, {spec.name} is {describe(spec)}"
        if column.missing is not None and not column.missing.is_integer():
            yield f"{where}missing = {column.missing} does not fit {spec.name}, which is {describe(spec)}"


def _countable(datatype: str) -> float:
    """How many indices, from 0 on, the datatype can hold."""
    dtype = NUMPY_OF[datatype]
    if dtype.kind in "iu":
        return int(np.iinfo(dtype.name).max) + 1
    return 2 if dtype.kind == "b" else math.inf


def _output_problems(model: ServedModel) -> Iterator[str]:
    declared = model.output
    if not isinstance(declared, ClassesOutput | ScoresOutput | EmbeddingOutput):
        return
    names = [spec.name for spec in model.signature.outputs]
    spec = chosen_output(declared, model.signature)
    if spec is None and declared.name is not None:
        yield f"name = {declared.name!r} is not an output ({', '.join(names)}){did_you_mean(declared.name, names)}"
    elif spec is None:
        yield f"none of the outputs ({', '.join(names)}) is floating-point; name one"
    elif spec.datatype in ("BYTES", "BOOL"):
        yield f"{spec.name} is {describe(spec)}; expected numbers"
    elif isinstance(declared, ClassesOutput):
        yield from classes_problems(declared, spec)
    elif isinstance(declared, ScoresOutput):
        yield from scores_problems(declared, spec)


def classes_problems(declared: ClassesOutput, spec: TensorSpec) -> Iterator[str]:
    """Labels against the number of classes."""
    count = columns(spec)
    if declared.top < 1:
        yield f"top = {declared.top} must be at least 1"
    if count == 1:
        yield f'{spec.name} is {describe(spec)}: one value is no choice; use kind = "scores"'
    elif declared.labels and count is not None and len(declared.labels) != count:
        yield f"{len(declared.labels)} labels for {count} classes ({spec.name} is {describe(spec)})"


def scores_problems(declared: ScoresOutput, spec: TensorSpec) -> Iterator[str]:
    """A column that is the score, and a threshold that can be met."""
    count = columns(spec)
    if not math.isfinite(declared.threshold):
        yield f"threshold = {declared.threshold} must be finite"
    if declared.positive == declared.negative:
        yield f"positive and negative are both {declared.positive!r}"
    if count is not None and score_column(declared.positive, spec.labels, count) is None:
        labels = f" labelled {', '.join(spec.labels)}" if spec.labels else " without labels"
        hint = did_you_mean(declared.positive, spec.labels)
        yield f"positive = {declared.positive!r}: {spec.name} has {count} columns{labels}{hint}"
