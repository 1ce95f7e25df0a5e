"""`[model.input]` and `[model.output]` -> the declarations that `model/` serves by."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final, Literal

from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    Column,
    EmbeddingOutput,
    ImageInput,
    Input,
    NumericColumn,
    Output,
    ScoresOutput,
    TabularInput,
    TensorInput,
    TensorOutput,
    TextInput,
)
from sealift.model.words import quoted, shown
from sealift.project.keys import COLUMN_KEYS, INPUT_KEYS, OUTPUT_KEYS
from sealift.project.section import ANY_TEXT, POSITIVE, Range, Section

INTERPOLATIONS: Final[tuple[Literal["nearest", "bilinear", "bicubic", "lanczos"], ...]] = (
    "nearest",
    "bilinear",
    "bicubic",
    "lanczos",
)
LAYOUTS: Final[tuple[Literal["NCHW", "NHWC"], ...]] = ("NCHW", "NHWC")
CHANNELS: Final[tuple[Literal["RGB", "BGR", "GRAY"], ...]] = ("RGB", "BGR", "GRAY")
DECODINGS: Final[tuple[Literal["fast", "exact"], ...]] = ("fast", "exact")
PAIRS: Final[tuple[Literal["refused", "optional", "required"], ...]] = ("refused", "optional", "required")
ENCODINGS: Final[tuple[Literal["index", "onehot", "string"], ...]] = ("index", "onehot", "string")
ACTIVATIONS: Final[tuple[Literal["softmax", "sigmoid", "none"], ...]] = ("softmax", "sigmoid", "none")

_PIXELS: Final = Range("an integer from 1 to 16384", lambda x: 1 <= x <= 16384)
_NUMBER_OR_NAN: Final = Range("a finite number or nan", nan=True)  # trees take NaN for a missing value
_COUNT: Final = Range("an integer of at least 1", lambda x: x >= 1)


def read_input(model: Section) -> tuple[Input, Path | None]:
    """`[model.input]` and its tokenizer; arrays as they are when it is absent or its kind is wrong."""
    section = model.child("input")
    kind = _kind(section, tuple(INPUT_KEYS))
    if kind is None:
        return TensorInput(), None
    section.allow_only(INPUT_KEYS[kind], f' of kind "{kind}"')
    if kind == "text":
        return _text(section), section.path_to("tokenizer", "file")
    if kind == "image":
        return _image(section), None
    return (TabularInput(columns=_columns(section)) if kind == "tabular" else TensorInput()), None


def read_output(model: Section) -> Output:
    """`[model.output]`; all outputs as they are when it is absent or its kind is wrong."""
    section = model.child("output")
    kind = _kind(section, tuple(OUTPUT_KEYS))
    if kind is None:
        return TensorOutput()
    section.allow_only(OUTPUT_KEYS[kind], f' of kind "{kind}"')
    if kind == "classes":
        return _classes(section)
    if kind == "scores":
        return _scores(section)
    if kind == "embedding":
        return EmbeddingOutput(name=section.text("name", None), normalize=section.flag("normalize", False))
    return TensorOutput()


def _kind(section: Section, kinds: tuple[str, ...]) -> str | None:
    """The declared kind, `tensor` when none is; None when it is wrong: its keys cannot be judged then."""
    return section.choice("kind", None, kinds) if "kind" in section else "tensor"


def _text(section: Section) -> TextInput:
    defaults = TextInput()
    text = TextInput(
        max_length=section.integer("max_length", defaults.max_length, _COUNT),
        truncation=section.flag("truncation", defaults.truncation),
        pair=section.choice("pair", defaults.pair, PAIRS),
        pad_token=section.text("pad_token", defaults.pad_token),
        ids=section.text("ids", defaults.ids),
        mask=section.text("mask", defaults.mask),
        types=section.text("types", defaults.types),
    )
    if "tokenizer" not in section and not section.report.is_meant((*section.path, "tokenizer")):
        for key in (key for key in TextInput.__struct_fields__ if key in section):
            section.refuse(key, "expected 'tokenizer' beside it; without one a text is not cut into tokens")
    for key in ("mask", "types"):
        if getattr(text, key) in (text.ids, text.mask if key == "types" else None):
            section.refuse(key, f"expected another input than {quoted(getattr(text, key))}")
    return text


def _image(section: Section) -> ImageInput:
    height, width = _size(section)
    defaults = ImageInput(size=(height, width))
    channels = section.choice("channels", defaults.channels, CHANNELS)
    planes = 1 if channels == "GRAY" else 3
    image = ImageInput(
        size=(height, width),
        resize=section.integer("resize", defaults.resize, _PIXELS),
        interpolation=section.choice("interpolation", defaults.interpolation, INTERPOLATIONS),
        mean=section.numbers("mean", defaults.mean),
        std=section.numbers("std", defaults.std, POSITIVE),
        layout=section.choice("layout", defaults.layout, LAYOUTS),
        channels=channels,
        decode=section.choice("decode", defaults.decode, DECODINGS),
    )
    for key, values in (("mean", image.mean), ("std", image.std)):
        if len(values) not in (1, planes):
            per_channel = f", or {planes} for {channels}" if planes > 1 else ""
            section.refuse(key, f"expected 1 number{per_channel}, got {len(values)}")
    if image.resize is not None and image.resize < max(image.size):
        text = f"expected at least {max(image.size)}, the longer side of size, got {image.resize}"
        section.refuse("resize", text)
    _refuse_unit_scale(section, image)
    return image


def _refuse_unit_scale(section: Section, image: ImageInput) -> None:
    """The commonest slip: training code that divides by 255 first, its mean and std copied as they are."""
    if max(image.std) < 1:
        mean, std = ([round(255 * value, 3) for value in values] for values in (image.mean, image.std))
        text = f"pixels count 0 to 255 here, and {shown(list(image.std))} is on a scale of 0 to 1"
        section.refuse("std", f"{text}; write mean = {shown(mean)} and std = {shown(std)}")


def _size(section: Section) -> tuple[int, int]:
    """(height, width); (1, 1) when it is missing or wrong."""
    if not section.require("size"):
        return 1, 1
    value = section.table["size"]
    if isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value):
        height, width = value
        if _PIXELS.accepts(height) and _PIXELS.accepts(width):
            return height, width
    section.refuse("size", f"expected [height, width] in pixels from 1 to 16384, got {shown(value)}")
    return 1, 1


def _columns(section: Section) -> tuple[Column, ...]:
    if not section.require("columns"):
        return ()
    tables = section.children("columns")
    if section.table["columns"] == []:
        section.refuse("columns", "expected at least one column")
    columns = [(table, _column(table)) for table in tables]
    times = Counter(column.name for _, column in columns if column and column.name)
    for table, column in columns:
        if column and times[column.name] > 1:
            table.refuse("name", f"{quoted(column.name)} names {times[column.name]} columns")
    return tuple(column for _, column in columns if column)


def _column(section: Section) -> Column | None:
    """None when its kind is missing or wrong."""
    kind = section.choice("kind", None, tuple(COLUMN_KEYS)) if section.require("kind") else None
    if kind is None:
        return None
    section.allow_only(COLUMN_KEYS[kind], f' of kind "{kind}"')
    name = section.text("name", "") if section.require("name") else ""
    return _numeric(section, name) if kind == "numeric" else _categorical(section, name)


def _numeric(section: Section, name: str) -> NumericColumn:
    defaults = NumericColumn(name=name)
    return NumericColumn(
        name=name,
        mean=section.number("mean", defaults.mean),
        std=section.number("std", defaults.std, POSITIVE),
        missing=section.number("missing", defaults.missing, _NUMBER_OR_NAN),
        input=section.text("input", defaults.input),
    )


def _categorical(section: Section, name: str) -> CategoricalColumn:
    defaults = CategoricalColumn(name=name, vocabulary=())
    column = CategoricalColumn(
        name=name,
        vocabulary=section.texts("vocabulary", ()) if section.require("vocabulary") else (),
        encoding=section.choice("encoding", defaults.encoding, ENCODINGS),
        missing=section.text("missing", defaults.missing),
        unknown=section.text("unknown", defaults.unknown),
        input=section.text("input", defaults.input),
    )
    for key, word in (("missing", column.missing), ("unknown", column.unknown)):
        if word is not None and column.vocabulary and word not in column.vocabulary:
            section.refuse(key, f"expected a word of the vocabulary, got {quoted(word)}")
    return column


def _classes(section: Section) -> ClassesOutput:
    defaults = ClassesOutput()
    return ClassesOutput(
        name=section.text("name", defaults.name),
        labels=_labels(section),
        top=section.integer("top", defaults.top, _COUNT),
        activation=section.choice("activation", defaults.activation, ACTIVATIONS),
    )


def _labels(section: Section) -> tuple[str, ...]:
    """An array of labels (two classes may share one), or the lines of a file."""
    value = section.table.get("labels")
    if isinstance(value, str):
        return section.found("labels", (), section.folder.read_labels)
    if value is None or isinstance(value, list):
        return section.texts("labels", (), ANY_TEXT, distinct=False)
    section.refuse("labels", f"expected a file of labels or an array of them, got {shown(value)}")
    return ()


def _scores(section: Section) -> ScoresOutput:
    positive = section.text("positive", "") if section.require("positive") else ""
    defaults = ScoresOutput(positive=positive)
    scores = ScoresOutput(
        positive=positive,
        threshold=section.number("threshold", defaults.threshold),
        negative=section.text("negative", defaults.negative),
        name=section.text("name", defaults.name),
        activation=section.choice("activation", defaults.activation, ACTIVATIONS),
    )
    if positive and scores.negative == positive:
        section.refuse("negative", f"expected another word than positive, got {quoted(positive)}")
    return scores
