"""What the names of a script stand for, as far as reading tells: values without values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that was not understood, and where it came from."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Known:
    """A constant: text, a number, a path, a list or a dict of constants."""

    value: object


@dataclass(frozen=True, slots=True)
class Sent:
    """What a client sent.

    `form`: `raw` the body, `json` the document or one of its fields, `base64` such a field decoded, `file` a file of a
    form. `is_stream`: to be read, not yet bytes. `default`: the number that a missing field stands for.
    """

    form: Literal["raw", "json", "base64", "file"]
    field: str = ""
    is_stream: bool = False
    default: float | None = None


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo on its way to a tensor: pixel p becomes `scale * p + shift`, one value per channel or one for all.

    `size`, `crop`: (height, width). `shorter`: what the shorter side was scaled to. `axes`: their order, with N once
    there is a batch; empty while it is no array. `is_float`: its numbers are; 8-bit ones would overflow.
    """

    of: Sent
    channels: Literal["RGB", "BGR", "GRAY", ""] = ""
    size: tuple[int, int] | None = None
    shorter: int | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = ""
    scale: tuple[float, ...] = (1.0,)
    shift: tuple[float, ...] = (0.0,)
    axes: str = ""
    is_upright: bool = False
    is_float: bool = False

    def affine(self, scale: tuple[float, ...], shift: tuple[float, ...]) -> Photo:
        """Then `scale * x + shift`."""
        count = max(len(self.scale), len(scale), len(shift))
        old_scale, old_shift = spread(self.scale, count), spread(self.shift, count)
        by, more = spread(scale, count), spread(shift, count)
        return replace(
            self,
            scale=tuple(a * b for a, b in zip(old_scale, by, strict=True)),
            shift=tuple(a * b + c for a, b, c in zip(old_shift, by, more, strict=True)),
            is_float=True,
        )


@dataclass(frozen=True, slots=True)
class Fields:
    """A row of a JSON document's fields, in the model's order: field x becomes `scale * x + shift`."""

    names: tuple[str, ...]
    missing: tuple[float | None, ...]
    scale: tuple[float, ...]
    shift: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model, by the call that loads it."""

    loader: str
    file: Path | None
    line: int


@dataclass(frozen=True, slots=True)
class Instance:
    """An object of a class of the script's own."""

    name: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that the script reads: `open(...)`, its text, lines or JSON."""

    path: Path


@dataclass(frozen=True, slots=True)
class Chain:
    """`torchvision.transforms.Compose([...])`, or one transform: (name, its arguments, line)."""

    steps: tuple[tuple[str, Arguments, int], ...]


@dataclass(frozen=True, slots=True)
class Result:
    """Something of what the model gave.

    `what`: `values`; `pair` (the largest and its index); `best`, the largest; its `index`; `score`, one value by its
    place; `label`; `decision` of a score against `threshold`, with its two words. `activation`: `softmax` or
    `sigmoid`; on the way there `shifted` by the largest, and `exp`.
    """

    what: Literal["values", "pair", "best", "index", "score", "label", "decision"] = "values"
    activation: str = ""
    labels: Opened | Known | None = None
    threshold: float | None = None
    words: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Table:
    """A dict whose keys are known: what a route answers with."""

    entries: Mapping[str, Symbol]


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of a call, evaluated."""

    given: tuple[Symbol, ...] = ()
    named: Mapping[str, Symbol] | None = None

    @property
    def all(self) -> tuple[Symbol, ...]:
        """By place, then by name."""
        return (*self.given, *(self.named or {}).values())

    def get(self, number: int, name: str = "") -> Symbol | None:
        """By place, else by name."""
        if number < len(self.given):
            return self.given[number]
        return (self.named or {}).get(name)

    def constant(self, number: int, name: str = "") -> object:
        """Its value where it is known, else None."""
        found = self.get(number, name)
        return found.value if isinstance(found, Known) else None


Symbol = Unknown | Known | Sent | Photo | Fields | Model | Instance | Opened | Chain | Result | Table


def spread(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    """One value for all, or as many as there are."""
    return values * count if len(values) == 1 else values


def numbers_of(value: object) -> tuple[float, ...] | None:
    """A number, or a list of lists of numbers flattened (`[[[0.485]], [[0.456]], [[0.406]]]`); None: anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return (float(value),)
    if isinstance(value, list | tuple) and value:
        parts = [numbers_of(each) for each in value]
        return tuple(number for part in parts if part for number in part) if all(parts) else None
    return None


def has_float(value: object) -> bool:
    """Whether a number, or one of a list, is no integer."""
    if isinstance(value, list | tuple):
        return any(map(has_float, value))
    return isinstance(value, float)
