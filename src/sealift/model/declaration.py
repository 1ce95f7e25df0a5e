"""What the project declares about a model's inputs and outputs (`[model.input]`, `[model.output]`).

The same values stand in `sealift.toml` (parsed by `project/`) and in the release's `service.json`.
Defaults and meanings: docs/reference/project-file.md.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class _Declared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class TensorInput(_Declared, frozen=True, kw_only=True, tag_field="kind", tag="tensor"):
    """Arrays as they are; the default."""


class TextInput(_Declared, frozen=True, kw_only=True, tag_field="kind", tag="text"):
    """`{"text": "..."}`: into a BYTES input as it is, or as tokens where the model has a tokenizer.

    The values here belong to the tokenizer. `max_length` counts the tokens of an item, the special ones
    included; what is longer is cut with `truncation`, else refused. `pair` says whether an item has a second
    text. `pad_token` fills up short rows (None: the one that tokenizer.json declares, else token 0).
    `ids`, `mask` and `types` name the model's inputs for them; `mask` and `types` are filled where the model
    has them.
    """

    max_length: int | None = None
    truncation: bool = False
    pair: Literal["refused", "optional", "required"] = "refused"
    pad_token: str | None = None
    ids: str = "input_ids"
    mask: str = "attention_mask"
    types: str = "token_type_ids"


class ImageInput(_Declared, frozen=True, kw_only=True, tag_field="kind", tag="image"):
    """A photo: decode, shorter side to `resize`, centre crop to `size`, `(x - mean) / std`.

    `size` is (height, width) in pixels. `resize=None` scales straight to `size`, aspect ignored.
    `mean` and `std` are on the 0..255 scale, one value per channel (or one for all).
    `decode`: `exact` is Pillow's decoding, scaling and cropping to the bit, `fast` close to it for JPEG.
    """

    size: tuple[int, int]
    resize: int | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    channels: Literal["RGB", "BGR", "GRAY"] = "RGB"
    decode: Literal["fast", "exact"] = "fast"


class NumericColumn(_Declared, frozen=True, kw_only=True, tag_field="kind", tag="numeric"):
    """A number, `(x - mean) / std`. `missing`: the raw value a missing field stands for; None refuses it."""

    name: str
    mean: float = 0.0
    std: float = 1.0
    missing: float | None = None
    input: str | None = None


class CategoricalColumn(_Declared, frozen=True, kw_only=True, tag_field="kind", tag="categorical"):
    """One of `vocabulary`, as its index, as one-hot columns, or as the string itself.

    `missing`: the word a missing field stands for; None refuses it.
    `unknown`: the word an out-of-vocabulary value stands for; None refuses it.
    """

    name: str
    vocabulary: tuple[str, ...]
    encoding: Literal["index", "onehot", "string"] = "index"
    missing: str | None = None
    unknown: str | None = None
    input: str | None = None


Column = NumericColumn | CategoricalColumn


class TabularInput(_Declared, frozen=True, kw_only=True, tag_field="kind", tag="tabular"):
    """Named fields. A column goes to the model input it names in `input`, else to the model input of
    its own name, else it is the next column(s) of the model's only input."""

    columns: tuple[Column, ...]


Input = TensorInput | TextInput | ImageInput | TabularInput


class TensorOutput(_Declared, frozen=True, kw_only=True, tag_field="kind", tag="tensor"):
    """All outputs as they are; the default."""


class EmbeddingOutput(_Declared, frozen=True, kw_only=True, tag_field="kind", tag="embedding"):
    """One vector an item; `normalize` divides it by its Euclidean length."""

    name: str | None = None
    normalize: bool = False


class ClassesOutput(_Declared, frozen=True, kw_only=True, tag_field="kind", tag="classes"):
    """One value per class. `activation`: None takes what the graph asks for (softmax unless it already
    ends in probabilities). `name` is the output tensor, default: the first floating-point one."""

    name: str | None = None
    labels: tuple[str, ...] = ()
    top: int = 5
    activation: Literal["softmax", "sigmoid", "none"] | None = None


class ScoresOutput(_Declared, frozen=True, kw_only=True, tag_field="kind", tag="scores"):
    """A score against a threshold: `prediction` is `positive` when score >= threshold, else `negative`.

    The score is the output's only value, or the column labelled `positive`, or the second of two.
    """

    positive: str
    threshold: float = 0.5
    negative: str | None = None
    name: str | None = None
    activation: Literal["softmax", "sigmoid", "none"] | None = None


Output = TensorOutput | EmbeddingOutput | ClassesOutput | ScoresOutput
