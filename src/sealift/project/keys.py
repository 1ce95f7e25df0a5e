"""Every key that `sealift.toml` may hold, and where each belongs.

Sections whose values are a contract with other rooms take their keys from that contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    EmbeddingOutput,
    ImageInput,
    NumericColumn,
    ScoresOutput,
    TabularInput,
    TensorInput,
    TensorOutput,
    TextInput,
)
from sealift.model.words import listed, nearest
from sealift.project.project import (
    Gates,
    Limits,
    Optimize,
    PythonSources,
    Slo,
    SystemPackages,
    TargetWish,
)

SECTION_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "project": ("name", "version"),
    "target": tuple(field.name for field in fields(TargetWish)),
    "python": tuple(field.name for field in fields(PythonSources)),
    "model": (
        "path",
        "architecture",
        "arguments",
        "license",
        "engine",
        "device",
        "inputs",
        "outputs",
        "input",
        "output",
    ),
    "handler": ("module",),
    "optimize": tuple(field.name for field in fields(Optimize)),
    "slo": tuple(field.name for field in fields(Slo)),
    "limits": tuple(field.name for field in fields(Limits)),
    "checks": ("golden",),
    "gates": tuple(field.name for field in fields(Gates)),
}
"""Section -> its keys. `[models.NAME]` has those of `[model]`, and `handler` as a sub-section."""

PACKAGES_KEYS: Final = tuple(field.name for field in fields(SystemPackages))
"""Of `[target.packages]`."""

INPUT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "tensor": ("kind", *TensorInput.__struct_fields__),
    "text": ("kind", "tokenizer", *TextInput.__struct_fields__),
    "image": ("kind", *ImageInput.__struct_fields__),
    "tabular": ("kind", *TabularInput.__struct_fields__),
}
TENSOR_KEYS: Final = ("name", "datatype", "shape")
"""Of `[[model.inputs]]` and `[[model.outputs]]`."""
COLUMN_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "numeric": ("kind", *NumericColumn.__struct_fields__),
    "categorical": ("kind", *CategoricalColumn.__struct_fields__),
}
OUTPUT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "tensor": ("kind", *TensorOutput.__struct_fields__),
    "embedding": ("kind", *EmbeddingOutput.__struct_fields__),
    "classes": ("kind", *ClassesOutput.__struct_fields__),
    "scores": ("kind", *ScoresOutput.__struct_fields__),
}
NARROWING_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "number": ("minimum", "maximum", "default"),
    "device": ("choices", "default"),
    "address": ("default",),
}
"""What may stand in the table of one setting below `[settings]`."""
SECTIONS: Final = ("project", "target", "python", "model", "models", *tuple(SECTION_KEYS)[4:], "settings")

_MOST_HOMES = 2
"""A key that lives in more places than this (`name`, `kind`) says nothing about what was meant."""


def homes_of(key: str) -> list[str]:
    """Where `key` is known, as it is written: `[limits]`, `[model.output] of kind "classes"`."""
    homes = [f"[{section}]" for section, keys in SECTION_KEYS.items() if key in keys]
    for section, kinds in (
        ("[model.input]", INPUT_KEYS),
        ("[[model.input.columns]]", COLUMN_KEYS),
        ("[model.output]", OUTPUT_KEYS),
    ):
        homes += [f'{section} of kind "{kind}"' for kind, keys in kinds.items() if key in keys]
    return homes


def advice_on(key: str, siblings: tuple[str, ...]) -> tuple[str, str | None]:
    """What follows "is not a key", and the sibling that was meant, if one is likely.

    A key that is right elsewhere is sent there; else the sibling it resembles is named; else nothing.
    """
    if key in SECTIONS:
        return f"; it is a section of its own, [{key}]", None
    homes = homes_of(key)
    if 0 < len(homes) <= _MOST_HOMES:
        return f"; it belongs in {listed(homes, mark='')}", None
    near = nearest(key, siblings)
    return (f"; did you mean '{near}'?" if near else ""), near
